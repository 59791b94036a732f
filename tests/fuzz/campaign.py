"""One campaign: every kind of key damaged so many times, and what went wrong."""

import random

import httpx2
from redis.exceptions import RedisError

from tests.fuzz.asking import commands, faults
from tests.fuzz.stored import Stored, fill_all
from tests.service.server import Server


def campaign(redis, url, log, *, rounds, seed):
    """Damage every kind of key so many times; returns what went wrong, each with the damage that did it."""
    redis.flushall()
    known = fill_all(redis)
    stored, rng, wrong = Stored(redis), random.Random(seed), []
    with Server(url, log, AYS_CACHE_ENTRIES=0, AYS_STREAM_SECONDS=0.05, AYS_HEARTBEAT_SECONDS=0.05) as server:
        with httpx2.Client(base_url=server.url, timeout=30) as http:
            assert not list(faults(http, known, ""))
            for kind in sorted(stored.by_kind) * rounds:
                stored.restore()
                done = stored.damage(rng, rng.choice(stored.by_kind[kind]))
                wrong += [f"{done}: {fault}" for fault in [*faults(http, known, kind), *_raised(redis, known)]]
        told = sum(record["event"] == "damaged data" for record in server.records())
        wrong += [] if told > 3 * rounds else [f"only {told} answers told of damage: it was not met"]
        wrong += [f"in the log: {str(record)[:2000]}" for record in server.records() if "exception" in record]
        assert server.process.poll() is None
    return wrong


def _raised(redis, known):
    for act in commands(redis, known["secret"]):
        try:
            act()
        except RedisError as error:
            if "damaged" not in str(error):
                yield repr(error)
        except Exception as error:
            yield repr(error)
