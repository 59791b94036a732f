"""Settings of a Redis that lose what was accepted."""

import pytest

from ays_store import Store
from ays_store.redis_settings import KINDS, mistakes_in


@pytest.mark.parametrize(
    ("info", "kinds"),
    [
        ({"maxmemory_policy": "noeviction", "aof_enabled": 1, "cluster_enabled": 0}, []),
        ({"maxmemory_policy": "volatile-ttl", "aof_enabled": 0, "cluster_enabled": 1}, list(KINDS)),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 0}, ["persistence"]),
        ({}, []),
    ],
)
def test_what_is_wrong_is_named(info, kinds):
    assert [mistake.kind for mistake in mistakes_in(info)] == kinds


def test_the_embedded_one_is_right(redis):
    assert Store(redis).redis_mistakes() == []
