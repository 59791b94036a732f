import pytest

from ays_store import Standing
from tests.store.bodies import request


@pytest.fixture
def job_id(store):
    return store.jobs.submit(request())[0].id


def test_the_next_attempt_reads_what_the_last_one_has_kept(store, redis, job_id):
    token = store.jobs.start(job_id, "w")
    assert store.checkpoints.read(job_id) is None
    assert store.checkpoints.keep(job_id, token, "[1]") is Standing.HELD
    assert store.checkpoints.keep(job_id, token, "[1, 2]") is Standing.HELD
    assert store.jobs.release(job_id, token)
    assert store.checkpoints.read(job_id) == "[1, 2]"
    assert 0 < redis.ttl(f"ays:2:checkpoint:{job_id}") <= 7 * 86_400


def test_an_attempt_that_has_lost_the_job_keeps_nothing(store, job_id):
    old = store.jobs.start(job_id, "w")
    store.jobs.release(job_id, old)
    new = store.jobs.start(job_id, "x")
    store.checkpoints.keep(job_id, new, "[2]")
    assert store.checkpoints.keep(job_id, old, "[1]") is Standing.STALE
    assert store.checkpoints.read(job_id) == "[2]"


def test_whoever_keeps_hears_that_the_job_is_to_stop(store, job_id):
    token = store.jobs.start(job_id, "w")
    store.jobs.cancel(job_id)
    assert store.checkpoints.keep(job_id, token, "[1]") is Standing.CANCEL


@pytest.mark.parametrize("end", ["fail", "stop"])
def test_the_end_of_a_job_drops_it(store, redis, job_id, end):
    token = store.jobs.start(job_id, "w")
    store.checkpoints.keep(job_id, token, "[1]")
    assert store.jobs.fail(job_id, token, "why") if end == "fail" else store.jobs.stop(job_id, token)
    assert not redis.exists(f"ays:2:checkpoint:{job_id}")


@pytest.mark.parametrize("raw", [b"", b"[1]", b"\x78\x9c\xcb\x80"])
def test_what_cannot_be_read_is_none(store, redis, job_id, raw):
    redis.set(f"ays:2:checkpoint:{job_id}", raw)
    assert store.checkpoints.read(job_id) is None
