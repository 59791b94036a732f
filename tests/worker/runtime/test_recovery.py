import os
import signal
import time

from ays_client.contract import JobState
from ays_store import Origin, Queue, Store
from service.local.embedded_redis import EmbeddedRedis
from tests.store.bodies import request
from tests.store.waiting import until
from tests.worker.toy import GATE, HOLD


def test_the_job_of_a_killed_worker_runs_elsewhere_within_30_seconds(start, ask, reaches, gate, deeds, store):
    """With the lease that production has."""
    first = start(AYS_LEASE_SECONDS="10")
    gate(2)
    job_id = ask(request(paths=4))
    until(lambda: len(deeds()) == 3)
    start(AYS_LEASE_SECONDS="10")
    first.kill()
    killed = time.monotonic()
    until(lambda: store.jobs.get(job_id).attempts == 2, seconds=40, what="second attempt")
    assert time.monotonic() - killed < 30
    gate()
    reaches(job_id, JobState.SUCCEEDED)
    assert deeds() == ["load toy", "step 0", "step 1", "load toy", "step 2", "step 3"], "resumed from the shards"


def test_the_only_worker_is_restarted_and_takes_its_job_up(start, ask, reaches, gate, deeds):
    first = start()
    job_id = ask(request(paths=2), origin=Origin("r1"))
    until(lambda: deeds() == ["load toy"])
    first.kill()
    gate()
    second = start()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 2
    (taken,) = second.said("job taken from a dead worker")
    assert (taken["job"], taken["request_id"]) == (job_id, "r1")


def test_a_worker_that_was_frozen_writes_nothing(start, ask, reaches, gate, deeds, store, redis):
    frozen = start()
    gate()
    redis.set(HOLD, 1)
    job_id = ask(request(model="late", paths=2))
    until(lambda: "computed" in deeds())
    os.kill(frozen.popen.pid, signal.SIGSTOP)
    try:
        start()
        until(lambda: deeds().count("computed") == 2, what="second attempt")
        redis.delete(HOLD)
        job = reaches(job_id, JobState.SUCCEEDED)
    finally:
        os.kill(frozen.popen.pid, signal.SIGCONT)
    until(lambda: frozen.said("job was taken over; nothing stored"))
    assert store.jobs.get(job_id).model_copy(update={"live_workers": 0}) == job.model_copy(update={"live_workers": 0})
    after = [entry.event.state for entry in store.jobs.events.read({job_id: "0"})[job_id]]
    assert after[-1] == JobState.SUCCEEDED
    assert after.count(JobState.SUCCEEDED) == 1


def test_a_job_that_kills_its_workers_is_failed(start, ask, store):
    job_id = ask(request(model="killer"))
    for _ in range(3):
        worker = start(wait=False)
        worker.popen.wait(20)
        assert worker.popen.returncode == -signal.SIGKILL
    start()
    failed = until(lambda: store.jobs.get(job_id) if store.jobs.get(job_id).state == JobState.FAILED else None)
    assert failed.attempts == 3
    assert "each of 3 attempts" in failed.error


def test_a_job_that_was_never_enqueued_is_found(start, store, reaches, gate):
    job, _ = store.jobs.submit(request(paths=2))
    gate()
    start()
    assert reaches(job.id, JobState.SUCCEEDED).attempts == 1


def test_a_job_that_was_taken_from_the_queue_and_never_started_is_found(start, ask, redis, reaches, gate):
    job_id = ask(request(paths=2))
    assert redis.lmove("rq:queue:ays", "rq:queue:ays:intermediate") == f"{job_id}-1".encode()
    gate()
    start()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1
    assert until(lambda: redis.llen("rq:queue:ays:intermediate") == 0)


def test_redis_restarts_under_a_running_job(start, tmp_path):
    """It comes back from its append-only file, and the worker goes on where it was: no second attempt."""
    with EmbeddedRedis(tmp_path / "data") as server:
        own = Store.open(server.url, lease_seconds=2)
        own.redis.set(GATE, 1000)
        own.redis.set(HOLD, 1)
        job, _ = own.jobs.submit(request(model="late", paths=2))
        Queue(own.redis).enqueue(job.id)
        worker = start(at=own, url=server.url)
        until(lambda: b"computed" in own.redis.lrange("toy:log", 0, -1))
        server.stop()
        until(lambda: worker.said("redis is away"))
        server.start()
        until(lambda: own.redis.delete(HOLD))
        done = until(lambda: own.jobs.get(job.id) if own.jobs.get(job.id).state == JobState.SUCCEEDED else None)
        assert done.attempts == 1
        assert own.results.schedule(done.schedule_id)
        assert worker.end() == 0
        own.close()
