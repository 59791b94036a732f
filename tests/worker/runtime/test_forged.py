"""Whoever can write to Redis can neither run code in a worker nor end it: forged jobs of RQ, and damage to what the worker reads."""

import json
import pickle
import random
import zlib

import pytest
from redis.exceptions import RedisError
from rq import Queue as RQQueue
from rq.job import Callback

from ays_client.contract import JobState
from tests.fuzz.stored import Stored, kind_of
from tests.store.bodies import request
from tests.store.waiting import until

SUPERVISED = "tests.worker.supervised"
QUEUE = "rq:queue:ays"
LARGE = "x" * (100 << 20)


class Bomb:
    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return open, (str(self._mark), "w")


def data(*call):
    return zlib.compress(json.dumps(call).encode(), level=1)


def forged(mark):
    """What is written as the hash of a job, by the name of the trick."""
    pickled = pickle.dumps(("open", None, (str(mark), "w"), {}))
    call = f"open('{mark}', 'w')"
    return {
        "a function of the system": {"data": data("os.system", None, [f"touch {mark}"], {})},
        "a builtin": {"data": data("builtins.eval", None, [call], {})},
        "a function of RQ": {"data": data("rq.utils.import_attribute", None, ["os.system"], {})},
        "a method": {"data": data("optimize", {"py/object": "os.system"}, ["0"], {})},
        "a pickle": {"data": pickled},
        "a packed pickle": {"data": zlib.compress(pickle.dumps(Bomb(mark)))},
        "the same, with another serializer": {"data": zlib.compress(pickle.dumps(Bomb(mark))), "serializer": "pickle"},
        "a name of 100 MB": {"data": data(LARGE, None, ["0"], {})},
        "an argument of 100 MB": {"data": data("optimize", None, [LARGE], {})},
        "a description of 100 MB": {"data": data("optimize", None, ["0"], {}), "description": LARGE},
        "a traceback that unpacks to 100 MB": {"data": data("optimize", None, ["0"], {}), "exc_info": zlib.compress(LARGE.encode())},
        "a nest": {"data": zlib.compress(b"[" * 60_000)},
        "no call": {"data": zlib.compress(b'{"optimize": 1}')},
        "a call of numbers": {"data": data(1, 2, 3, 4)},
        "bytes": {"data": b"\xff\xfe\x00", "status": b"\xff", "created_at": "yesterday"},
        "a strange time-out": {"data": data("optimize", None, ["0"], {}), "timeout": "for ever"},
        "a callback": {"data": data("optimize", None, ["0"], {}), "success_callback_name": "os.getcwd", "status": "queued"},
        "a web hook": {"data": data("optimize", None, ["0"], {}), "webhooks": json.dumps([{"url": "http://127.0.0.1:9"}])},
        "retries": {"data": data("measure", None, ["0"], {}), "retries_left": "5", "retry_intervals": "[0]", "repeats_left": "9"},
        "another's job": {"data": data("optimize", None, ["../../etc/passwd"], {})},
        "nothing": {"status": "queued"},
    }


def test_the_whole_worker_refuses_forged_jobs_in_short_lines_and_lives_on(start, ask, reaches, gate, redis, store, tmp_path):
    worker, mark = start(module=SUPERVISED), tmp_path / "mark"
    gate()
    (before,) = store.workers.live()
    for number, fields in enumerate(forged(mark).values()):
        redis.hset(f"rq:job:forged{number}", mapping={"created_at": "2026-01-01T00:00:00.000000Z", "origin": "ays", **fields})
        redis.rpush(QUEUE, f"forged{number}")
    RQQueue("ays", connection=redis, serializer="json").enqueue_call("os.getcwd", on_failure=Callback("os.getcwd"), job_id="by-rq")
    redis.set("rq:job:string", "x")
    redis.rpush(QUEUE, "string", "not-there", b"\xff\xfe", b"\x00", "", "y" * 1_000_000, *[f"gone{number}" for number in range(2000)])
    reaches(ask(request(paths=2)), JobState.SUCCEEDED, seconds=60)
    (after,) = store.workers.live()
    assert (after.name, after.info["pid"]) == (before.name, before.info["pid"])
    assert not mark.exists()
    lines = worker.stderr.read_text().splitlines()
    assert max(map(len, lines)) < 2000
    assert "Traceback" not in "".join(lines)
    refused = [line for line in lines if "refused" in line]
    # Those that are calls of ours, of jobs that there are not, find nothing to do.
    assert len(forged(mark)) - 5 <= len(refused) <= len(forged(mark)) + 5, refused
    assert worker.end() == 0


ROUNDS = 24

_MENDED = {"MODELS", "MODEL_INDEX", "MODEL_SOURCES", "FINGERPRINTS", "WORKERS", "LEASES", "COUNTERS", "CLOCK", "worker", "events"}
"""What needs nobody to repair it."""


@pytest.mark.parametrize("seed", [3])
def test_damage_to_what_a_worker_reads_does_not_end_it(start, reaches, gate, redis, store, queue, seed):
    worker, rng = start(), random.Random(seed)
    (before,) = store.workers.live()
    done = set()
    for number in range(ROUNDS):
        gate(0)
        job, _ = store.jobs.submit(request(paths=2, seed=100 + number))
        queue.enqueue(job.id)
        until(lambda job=job: store.jobs.get(job.id).state is JobState.RUNNING, what="the job at work")
        stored = Stored(redis)
        kind = rng.choice(sorted(set(stored.by_kind) - done) or sorted(stored.by_kind))
        done.add(kind)
        name = rng.choice(stored.by_kind[kind])
        what = stored.damage(rng, name)
        gate()
        # Long enough for the worker to meet it: the job ends, or its record is what was damaged.
        _settle(store, job.id)
        assert worker.popen.poll() is None, what
        if kind_of(name) not in {"job", *_MENDED}:
            redis.delete(name)
        gate()
        honest, _ = store.jobs.submit(request(paths=2, seed=1000 + number))
        queue.enqueue(honest.id)
        reaches(honest.id, JobState.SUCCEEDED, seconds=40)
    assert len(done) > 15
    # What it said of itself may be what was damaged last: it says it again.
    until(lambda: any(live.info.get("pid") == before.info["pid"] for live in store.workers.live()), what="a heartbeat of the same process")
    assert worker.end() == 0


def _settle(store, job_id):
    def over():
        try:
            job = store.jobs.get(job_id)
        except RedisError:
            return True
        return job is None or job.state.final or job.state is JobState.QUEUED

    until(over, seconds=30, what="an end of the damaged job")


def test_a_worker_starts_where_the_lists_of_models_and_workers_are_damaged(start, redis, store):
    for name in ("models", "models:index", "models:sources", "models:fingerprints", "workers"):
        redis.set(f"ays:2:{name}", b"\xff")
    worker = start(module=SUPERVISED, wait=False)
    until(lambda: "toy" in [model.id for model in _listed(store)], seconds=30, what="the models on offer")
    until(lambda: store.workers.count() == 1, seconds=30, what="the worker among the workers")
    assert worker.end() == 0


def _listed(store):
    try:
        return store.models.page().models
    except RedisError:
        return []
