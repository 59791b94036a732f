"""The cache by itself: bounds, dependencies, sessions."""

import time

import pytest

from service.schedules.cache import FRESH_SECONDS, Answer, Cache, Freshness, Key


def key(name):
    return Key("/v1/schedules", name.encode(), False)


def answer(cache, *, depends=("a",), size=0):
    session = cache.session
    return Answer(headers=[], brief=[], body=b"x" * size, etag=b'"x"', depends=frozenset(depends), route=None, session=session, used="t")


@pytest.fixture
def cache():
    made = Cache(entries=3, size=10**6)
    made.joined()
    made.certain(time.monotonic())
    return made


def fill(cache, *names, **fields):
    for name in names:
        cache.put(key(name), answer(cache, **fields))


def held(cache, names):
    return "".join(name for name in names if key(name) in cache._answers)


def test_the_least_recently_used_goes_first(cache):
    fill(cache, "a", "b", "c")
    cache.get(key("a"))
    fill(cache, "d")
    assert held(cache, "abcd") == "acd"


def test_bytes_are_bounded_and_counted():
    cache = Cache(entries=10**6, size=10**6)
    for number in range(1000):
        fill(cache, str(number), size=8000)
        assert cache.bytes <= 10**6
    assert cache.bytes == sum(each.size for each in cache._answers.values())
    assert len(cache) > 100
    fill(cache, "large", size=20_000)
    assert cache.get(key("large")) is None
    cache.changed(["a"])
    assert (len(cache), cache.bytes, cache._dependants) == (0, 0, {})


def test_a_change_drops_what_depends_on_it_alone(cache):
    fill(cache, "a", depends=("x", "y"))
    fill(cache, "b", depends=("y",))
    fill(cache, "c", depends=())
    cache.changed(["x", "other"])
    assert held(cache, "abc") == "bc"
    cache.all_changed()
    assert len(cache) == 0


def test_a_replaced_answer_leaves_nothing_behind(cache):
    fill(cache, "a", depends=("x",), size=100)
    fill(cache, "a", depends=("y",))
    cache.changed(["x"])
    assert held(cache, "a") == "a"
    assert cache.bytes == answer(cache).size


def test_silence_ends_what_is_current(cache):
    fill(cache, "a")
    fill(cache, "b", depends=())
    kept, forever = cache.get(key("a")), cache.get(key("b"))
    assert cache.freshness(kept) is Freshness.CURRENT
    cache.certain(time.monotonic() - FRESH_SECONDS)
    assert cache.freshness(kept) is Freshness.UNKNOWN
    cache.cut_off(away=True)
    assert cache.freshness(kept) is Freshness.STALE
    cache.certain(time.monotonic())
    assert cache.freshness(kept) is Freshness.CURRENT
    assert cache.freshness(forever) is Freshness.CURRENT


def test_answers_of_an_earlier_session_wait_to_be_looked_up_again(cache):
    fill(cache, "a")
    fill(cache, "b", depends=())
    cache.cut_off(away=True)
    cache.joined()
    cache.certain(time.monotonic())
    assert cache.freshness(cache.get(key("a"))) is Freshness.UNKNOWN
    assert cache.freshness(cache.get(key("b"))) is Freshness.CURRENT
    cache.cut_off(away=True)
    assert cache.freshness(cache.get(key("a"))) is Freshness.STALE
    fill(cache, "a")
    assert cache.freshness(cache.get(key("a"))) is Freshness.CURRENT


def test_a_redis_that_refuses_to_tell_leaves_nothing_current(cache):
    fill(cache, "a")
    cache.cut_off(away=False)
    cache.certain(time.monotonic() - FRESH_SECONDS)
    assert cache.freshness(cache.get(key("a"))) is Freshness.UNKNOWN
