"""What nobody uses is dropped, whole, and nothing else."""

import pytest

from ays_client.contract import Effort, identity
from ays_store import Store, keys
from ays_store.tables import table_of
from tests.store import bodies

DAY = 86_400


@pytest.fixture
def store(redis):
    return Store(redis)


def made(store, *schedules, seed=0, effort=Effort.STANDARD, **fields):
    """A table of schedules; returns its id."""
    request = bodies.request(seed=seed, effort=effort, **fields)
    store.jobs.submit(request)
    token = store.jobs.start(identity(request), "w")
    profile = bodies.profile(request.variant)
    assert store.results.commit(identity(request), token, profile=profile, schedules=schedules, requested_schedule_id=schedules[0].id)
    return table_of(request)


def aged(redis, *names, days):
    now, _ = redis.time()
    redis.zadd(keys.USED, {name: now - days * DAY for name in names})


def stored(redis):
    kinds = (keys.profile(""), keys.cells(""), keys.schedule(""), keys.samples(""), keys.unlisted(""))
    return sorted(name.decode() for name in redis.scan_iter() if name.decode().startswith(kinds))


def test_a_table_that_nobody_has_used_goes_with_all_that_is_its_own(store, redis):
    kept = made(store, bodies.validated(mark="kept"), seed=1)
    before = stored(redis)
    old = made(store, bodies.validated(mark="old"), *(bodies.schedule(nfe=nfe, mark="old") for nfe in range(5, 9)), seed=2)
    better = bodies.validated(mark="better", effort=Effort.MAX)
    made(store, better, seed=2, effort=Effort.MAX)
    aged(redis, old, days=91)
    aged(redis, kept, days=89)
    done = store.retention.sweep(unused_seconds=90 * DAY)
    assert (done.tables, done.schedules) == (1, 6), "the schedule whose alias has moved on is among them"
    assert stored(redis) == before
    assert store.results.variants("toy") != []
    assert redis.zscore(keys.USED, old) is None


def test_a_lookup_by_id_keeps_the_table(store, redis):
    schedule = bodies.validated()
    table = made(store, schedule)
    aged(redis, table, days=91)
    store.retention.note([schedule.id, "f" * 32, "no-such-table"])
    assert store.retention.sweep(unused_seconds=90 * DAY).tables == 0
    assert redis.zcard(keys.USED) == 2, "what is not stored is not noted"


def test_a_table_of_an_earlier_version_counts_as_used_now(store, redis):
    made(store, bodies.validated())
    redis.delete(keys.USED)
    assert store.retention.sweep(unused_seconds=1).tables == 0
    assert redis.zcard(keys.USED) == 1


def test_a_job_that_is_asked_for_again_is_done_again(store, redis):
    table = made(store, bodies.validated())
    aged(redis, table, days=2)
    store.retention.sweep(unused_seconds=DAY)
    assert store.results.find(bodies.request()) is None
    assert stored(redis) == []


def test_what_is_forgotten_is_of_one_model_or_of_one_profile(store, redis):
    first, second = made(store, bodies.validated(mark="a"), seed=1), made(store, bodies.validated(mark="b"), seed=2)
    assert first != second
    assert store.retention.forget("other").tables == 0
    assert store.retention.forget("toy", profile_id=first).schedules == 1
    assert redis.exists(keys.profile(second)) == 1
    assert store.retention.forget("toy").tables == 1
    assert stored(redis) == []
