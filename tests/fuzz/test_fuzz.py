"""Every kind of value that we read back from Redis, damaged: clear errors, and nothing else suffers."""

import random

import httpx2
import pytest
from redis.exceptions import RedisError

from ays_store import Store
from tests.fuzz.asking import commands, faults
from tests.fuzz.stored import KINDS, Stored, fill_all
from tests.service.server import Server

ROUNDS, SEED = 2, 5


@pytest.fixture
def filled(redis):
    known = fill_all(redis)
    return known, Stored(redis)


def test_no_kind_of_key_is_left_out(filled):
    assert set(filled[1].by_kind) == set(KINDS)


def campaign(redis, url, log, filled, *, rounds, seed):
    """Damage every kind of key so many times; returns what went wrong, each with the damage that did it."""
    known, stored = filled
    rng, wrong = random.Random(seed), []
    with Server(url, log, AYS_CACHE_ENTRIES=0, AYS_STREAM_SECONDS=0.05, AYS_HEARTBEAT_SECONDS=0.05) as server:
        with httpx2.Client(base_url=server.url, timeout=30) as http:
            assert not list(faults(http, known, ""))
            for _ in range(rounds):
                for kind in sorted(stored.by_kind):
                    stored.restore()
                    done = stored.damage(rng, rng.choice(stored.by_kind[kind]))
                    wrong += [f"{done}: {fault}" for fault in faults(http, known, kind)]
                    for act in commands(redis, known["secret"]):
                        try:
                            act()
                        except RedisError as error:
                            if "damaged" not in str(error):
                                wrong.append(f"{done}: {error!r}")
                        except Exception as error:
                            wrong.append(f"{done}: {error!r}")
        wrong += [f"in the log: {str(record)[:2000]}" for record in server.records() if "exception" in record]
        assert server.process.poll() is None
    return wrong


def test_a_damaged_value_harms_nothing_but_itself(redis, redis_url, filled, tmp_path):
    wrong = campaign(redis, redis_url, tmp_path / "log", filled, rounds=ROUNDS, seed=SEED)
    assert not wrong, "\n".join(wrong[:20])


def test_what_is_damaged_is_made_anew_by_the_request_that_needs_it(redis, filled):
    store, best = Store(redis), filled[0]["best"]
    assert store.results.served(best.id)
    redis.set(f"ays:1:schedule:{best.id}", b"\xff")
    assert not store.results.served(best.id)
