import pytest

from ays_client.contract import Variant, identity
from ays_store import Measurement, Standing
from tests.store.bodies import profile, request, schedule
from tests.store.waiting import until

OF = Measurement(identity(Variant(model="toy")), "f0")
SHARDS = ["0-16", "16-32", "32-40"]


@pytest.fixture
def running(store):
    """A running job that wants all shards; its id and token."""
    job, _ = store.jobs.submit(request())
    token = store.jobs.start(job.id, "own")
    assert store.shards.offer(OF, "toy", SHARDS) == []
    return job.id, token


def test_every_shard_is_given_to_one_worker(store, running):
    job_id, _ = running
    assert store.shards.take(OF, job_id, "own", SHARDS) == "0-16"
    assert store.shards.take(OF, job_id, "own", SHARDS) == "0-16", "whoever asks again has lost the answer"
    assert [store.shards.take(OF, job_id, helper) for helper in ("a", "b", "c")] == ["16-32", "32-40", None]
    assert store.shards.offer(OF, "toy", SHARDS) == []
    assert store.shards.take(OF, job_id, "c") is None, "to offer again changes nothing"


def test_the_first_body_stands(store, redis, running):
    job_id, _ = running
    store.shards.take(OF, job_id, "a")
    assert store.shards.keep(OF, "0-16", "[1]")
    assert not store.shards.keep(OF, "0-16", "[2]")
    assert store.shards.offer(OF, "toy", SHARDS) == ["0-16"]
    assert store.shards.read(OF, SHARDS) == {"0-16": "[1]"}
    assert 0 < redis.ttl(f"ays:2:shards:{OF.profile_id}") <= 7 * 86_400
    assert 0 < redis.ttl(f"ays:2:shards:open:{OF.name}") <= 7 * 86_400


def test_what_nobody_wants_is_not_kept(store, redis):
    assert not store.shards.keep(OF, "0-16", "[1]")
    assert not list(redis.scan_iter("ays:2:*"))


def test_shards_of_other_weights_are_others(store, running):
    job_id, _ = running
    other = Measurement(OF.profile_id, "f1")
    assert not store.shards.wanted(other)
    assert store.shards.take(other, job_id, "a") is None
    assert not store.shards.keep(other, "0-16", "[2]")
    assert store.shards.read(OF, SHARDS) == {}


def test_the_shard_of_a_dead_worker_is_taken_again(store, running):
    job_id, token = running
    assert store.shards.take(OF, job_id, "dead") == "0-16"
    until(lambda: store.jobs.renew(job_id, token) and store.shards.take(OF, job_id, "a", ["0-16"]) == "0-16", what="end of the lease")
    assert store.shards.renew(OF, job_id, "dead", "0-16") is Standing.STALE
    assert store.shards.renew(OF, job_id, "a", "0-16") is Standing.HELD
    store.shards.hand_back(OF, "dead", "0-16")
    assert store.shards.take(OF, job_id, "b") == "16-32", "the dead one has nothing to hand back"


def test_a_shard_that_two_helpers_died_of_is_left_to_the_worker_of_its_job(store, running):
    job_id, token = running
    for helper in ("a", "b"):
        until(
            lambda helper=helper: store.jobs.renew(job_id, token) and store.shards.take(OF, job_id, helper) == "0-16",
            what="end of the lease",
        )
    until(lambda: store.jobs.renew(job_id, token) and store.shards.take(OF, job_id, "own", ["0-16"]) == "0-16", what="end of the lease")
    store.shards.hand_back(OF, "own", "0-16")
    assert store.shards.take(OF, job_id, "c") == "16-32"


def test_a_shard_that_failed_is_left_to_the_worker_of_its_job(store, running):
    job_id, _ = running
    assert store.shards.take(OF, job_id, "a") == "0-16"
    store.shards.hand_back(OF, "a", "0-16", failed=True)
    assert store.shards.take(OF, job_id, "b") == "16-32"
    assert store.shards.take(OF, job_id, "own", SHARDS) == "0-16"


def test_a_shard_that_was_interrupted_goes_to_the_next(store, running):
    job_id, _ = running
    for helper in ("a", "b", "c", "d"):
        assert store.shards.take(OF, job_id, helper) == "0-16"
        store.shards.hand_back(OF, helper, "0-16")


def test_helpers_hear_of_the_end_of_the_job(store, running):
    job_id, token = running
    assert store.shards.take(OF, job_id, "a") == "0-16"
    assert store.shards.renew(OF, job_id, "a", "0-16") is Standing.HELD
    store.jobs.release(job_id, token)
    assert store.shards.renew(OF, job_id, "a", "0-16") is Standing.HELD, "it will go on elsewhere"
    assert store.shards.take(OF, job_id, "b") is None
    again = store.jobs.start(job_id, "own")
    store.jobs.cancel(job_id)
    assert store.shards.renew(OF, job_id, "a", "0-16") is Standing.CANCEL
    assert store.shards.take(OF, job_id, "b") is None
    assert store.jobs.stop(job_id, again)
    assert store.shards.renew(OF, job_id, "a", "0-16") is Standing.STALE


def test_two_jobs_of_one_profile_share_its_shards(store, redis, running):
    first, token = running
    second, _ = store.jobs.submit(request(nfe=5))
    store.jobs.start(second.id, "other")
    assert store.shards.offer(OF, "toy", SHARDS) == []
    assert store.shards.take(OF, first, "own", SHARDS) == "0-16"
    assert store.shards.take(OF, second.id, "other", SHARDS) == "16-32"
    store.shards.keep(OF, "0-16", "[1]")
    assert store.shards.offer(OF, "toy", SHARDS) == ["0-16"]
    wanted = schedule()
    assert store.results.commit(first, token, profile=profile(), schedules=[wanted], requested_schedule_id=wanted.id)
    assert store.shards.offer(OF, "toy", SHARDS) is None, "the second job takes the profile"
    assert store.shards.renew(OF, second.id, "other", "16-32") is Standing.STALE
    assert not store.shards.keep(OF, "16-32", "[2]")
    assert not list(redis.scan_iter("ays:2:shards:*"))


def test_shards_of_a_profile_that_another_job_has_just_stored_are_not_offered(store, redis):
    job, _ = store.jobs.submit(request())
    token = store.jobs.start(job.id, "own")
    wanted = schedule()
    assert store.results.commit(job.id, token, profile=profile(), schedules=[wanted], requested_schedule_id=wanted.id)
    assert store.shards.offer(OF, "toy", SHARDS) is None
    assert not store.shards.wanted(OF)
    assert store.shards.offer(Measurement(OF.profile_id, "f1"), "toy", SHARDS) == [], "other weights"
    assert redis.zcard(f"ays:2:shards:open:{OF.profile_id}/f1") == 3


def test_shards_are_offered_beside_a_stored_profile_that_will_not_do(store, running):
    job_id, token = running
    wanted = schedule()
    assert store.results.commit(job_id, token, profile=profile(), schedules=[wanted], requested_schedule_id=wanted.id)
    edition = store.shards.edition(OF, "toy")
    assert store.shards.offer(OF, "toy", SHARDS, edition=edition) == []
    other, _ = store.jobs.submit(request(nfe=5))
    token = store.jobs.start(other.id, "other")
    newer = profile(created_at=2.0)
    assert store.results.commit(other.id, token, profile=newer, schedules=[wanted], requested_schedule_id=wanted.id)
    assert store.shards.offer(OF, "toy", SHARDS, edition=edition) is None, "another job has stored a profile since"
    assert store.shards.edition(OF, "toy") != edition


def test_an_edition_that_cannot_be_read_is_none(store, redis):
    assert store.shards.edition(OF, "toy") == b""
    redis.set("ays:2:variants:toy", "x")
    assert store.shards.edition(OF, "toy") == b""


def test_what_is_not_wanted_any_more_is_given_to_nobody_and_kept_when_somebody_is_at_it(store, running):
    job_id, _ = running
    assert store.shards.take(OF, job_id, "a") == "0-16"
    assert store.shards.take(OF, job_id, "b") == "16-32"
    store.shards.hand_back(OF, "b", "16-32")
    store.shards.withdraw(OF, SHARDS)
    assert store.shards.take(OF, job_id, "b") is None
    assert store.shards.renew(OF, job_id, "a", "0-16") is Standing.HELD
    assert store.shards.keep(OF, "0-16", "[1]")
    assert not store.shards.wanted(OF)
    assert store.shards.offer(OF, "toy", SHARDS) == ["0-16"]


def test_idle_are_workers_without_a_job_of_their_own_when_none_waits(store, running):
    job_id, _ = running
    assert store.workers.idle("own", job_id) == 0
    for name, job in (("own", job_id), ("idle", None), ("helping", job_id), ("busy", "another")):
        store.workers.beat(name, {"job": job})
    assert store.workers.idle("own", job_id) == 2
    store.jobs.submit(request(nfe=9))
    assert store.workers.idle("own", job_id) == 1
    for nfe in (10, 11):
        store.jobs.submit(request(nfe=nfe))
    assert store.workers.idle("own", job_id) == 0
