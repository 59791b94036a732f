import json
import multiprocessing
import zlib

import pytest
from rq import Queue as RQQueue
from rq.job import Callback
from rq.worker import SimpleWorker

from ays_client.contract import JobState, identity
from ays_store import Queue, Store
from ays_store.queue import AllowedJob, allowed
from tests.store.bodies import request
from tests.store.waiting import until

RQ_QUEUE = "rq:queue:ays"


def submitted(store, **fields):
    job, created = store.jobs.submit(request(**fields))
    assert created
    return job.id


def rq_ids(redis):
    return [raw.decode() for raw in redis.lrange(RQ_QUEUE, 0, -1)]


def test_a_job_is_enqueued_once_per_delivery(store, queue, redis):
    job_id = submitted(store)
    assert queue.enqueue(job_id)
    assert not queue.enqueue(job_id)
    assert rq_ids(redis) == [f"{job_id}-1"]
    stored = json.loads(zlib.decompress(redis.hget(f"rq:job:{job_id}-1", "data")))
    assert stored == ["optimize", None, [job_id], {}], "names and ids, nothing else"
    store.jobs.release(job_id, store.jobs.start(job_id, "w1"))
    assert queue.enqueue(job_id), "what RQ has kept of the first delivery is not in the way"
    assert rq_ids(redis) == [f"{job_id}-1", f"{job_id}-2"]
    assert len(queue) == 2


def test_only_a_queued_job_is_enqueued(store, queue):
    job_id = submitted(store)
    store.jobs.start(job_id, "w1")
    assert not queue.enqueue(job_id)
    assert not queue.enqueue("0" * 32)
    assert len(queue) == 0


def test_a_job_in_no_queue_is_enqueued_after_the_grace(store, queue, redis):
    there, lost, popped = submitted(store), submitted(store, nfe=5), submitted(store, nfe=6)
    queue.enqueue(popped)
    redis.lmove(RQ_QUEUE, f"{RQ_QUEUE}:intermediate")
    queue.enqueue(there)
    assert queue.reconcile(grace_seconds=60) == []
    assert queue.reconcile(grace_seconds=60) == []
    assert until(lambda: queue.reconcile(grace_seconds=0.05)) == [lost, popped]
    assert rq_ids(redis) == [f"{there}-1", f"{lost}-2", f"{popped}-2"]
    assert redis.llen(f"{RQ_QUEUE}:intermediate") == 0
    assert queue.reconcile(grace_seconds=0) == []


def test_what_dead_workers_leave_in_rq_is_swept(store, queue, redis):
    done, waiting = submitted(store), submitted(store, nfe=5)
    for job_id in (done, waiting):
        queue.enqueue(job_id)
        redis.lmove(RQ_QUEUE, f"{RQ_QUEUE}:intermediate")
    store.jobs.cancel(done)
    redis.zadd("rq:wip:ays", {f"{done}-1:execution": 1})
    redis.sadd("rq:workers", "rq:worker:gone")
    redis.sadd("rq:workers:ays", "rq:worker:gone")
    queue.sweep()
    assert redis.lrange(f"{RQ_QUEUE}:intermediate", 0, -1) == [f"{waiting}-1".encode()]
    assert redis.zcard("rq:wip:ays") == 0
    assert redis.smembers("rq:workers:ays") == set()


def test_calls_for_help_are_made_once_and_taken_back(store, queue, redis):
    job_id = submitted(store)
    assert queue.enqueue(job_id)
    calls = queue.call_for_help(job_id, 1, ["16-32", "32-40"])
    assert calls == queue.call_for_help(job_id, 1, ["16-32", "32-40"])
    assert rq_ids(redis) == [f"{job_id}-1", f"{job_id}-1-16-32", f"{job_id}-1-32-40"]
    stored = json.loads(zlib.decompress(redis.hget(f"rq:job:{calls[0]}", "data")))
    assert stored == ["measure", None, [job_id], {}]
    redis.lmove(RQ_QUEUE, f"{RQ_QUEUE}:intermediate")
    redis.lmove(RQ_QUEUE, f"{RQ_QUEUE}:intermediate")
    queue.withdraw(calls)
    assert rq_ids(redis) == []
    assert redis.exists(f"rq:job:{calls[0]}"), "somebody has just taken it"
    assert not redis.exists(f"rq:job:{calls[1]}")
    queue.sweep()
    assert redis.lrange(f"{RQ_QUEUE}:intermediate", 0, -1) == [f"{job_id}-1".encode()]
    assert not redis.exists(f"rq:job:{calls[0]}")
    queue.withdraw([])


def work(redis, functions):
    job_class = allowed(functions)
    queue = RQQueue("ays", connection=redis, job_class=job_class, serializer="json")
    SimpleWorker([queue], connection=redis, job_class=job_class, serializer="json").work(burst=True, logging_level="CRITICAL")


FORGED = {
    "a function of the system": {"func": "os.system", "args": ("touch {mark}",)},
    "a builtin": {"func": "eval", "args": ("open('{mark}', 'w')",)},
    "a function of ours by its path": {"func": "tests.store.test_queue.work", "args": ("{mark}",)},
    "a callback": {"func": "optimize", "args": ("0",), "on_success": Callback("os.remove")},
    "more arguments": {"func": "optimize", "args": ("0", "1")},
    "arguments by name": {"func": "optimize", "kwargs": {"job_id": "0"}},
    "an argument that is no string": {"func": "optimize", "args": (["0"],)},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_job_is_refused(redis, tmp_path, what):
    mark, ran = tmp_path / "mark", []
    forged = dict(FORGED[what])
    forged["args"] = tuple(arg.format(mark=mark) if isinstance(arg, str) else arg for arg in forged.get("args", ()))
    queue = RQQueue("ays", connection=redis, serializer="json")
    job = queue.enqueue_call(**forged, job_id="forged")
    queue.enqueue_call("optimize", args=("honest",), job_id="honest")
    work(redis, {"optimize": ran.append})
    assert ran == ["honest"], "the worker lives on"
    assert not mark.exists()
    assert job.get_status() == "failed"
    assert "refused RQ job forged: received" in AllowedJob.fetch("forged", connection=redis, serializer="json").latest_result().exc_string


@pytest.mark.parametrize("garbage", [{"data": b"\x80\x04garbage"}, {"data": b"[]", "status": b"nonsense"}, {"no": b"data"}, b"a string"])
def test_garbage_does_not_take_the_worker_down(redis, garbage):
    if isinstance(garbage, bytes):
        redis.set("rq:job:garbage", garbage)
    else:
        redis.hset("rq:job:garbage", mapping=garbage)
    redis.rpush(RQ_QUEUE, "garbage")
    ran = []
    RQQueue("ays", connection=redis, serializer="json").enqueue_call("optimize", args=("honest",))
    work(redis, {"optimize": ran.append})
    assert ran == ["honest"]
    Queue(redis).sweep()
    assert redis.llen(f"{RQ_QUEUE}:intermediate") == 0


def _submit_all(url, barrier, results):
    store = Store.open(url)
    queue = Queue(store.redis)
    barrier.wait(30)
    mine = []
    for seed in range(40):
        job, created = store.jobs.submit(request(seed=seed))
        queue.enqueue(job.id)
        mine.append((job.id, created))
    results.put(mine)
    store.close()


def test_racing_processes_make_one_job_each(redis_url, store, redis):
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=_submit_all, args=(redis_url, barrier, results)) for _ in range(2)]
    for racer in racers:
        racer.start()
    pairs = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    ids = {identity(request(seed=seed)) for seed in range(40)}
    for mine in pairs:
        assert {job_id for job_id, _ in mine} == ids
    created = [job_id for mine in pairs for job_id, created in mine if created]
    assert sorted(created) == sorted(ids)
    assert sorted(rq_ids(redis)) == sorted(f"{job_id}-1" for job_id in ids)
    assert len(store.jobs.list(JobState.QUEUED, limit=100)[0]) == 40
