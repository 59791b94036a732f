"""Settings of a Redis that lose what was accepted, or under which nothing works."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("eviction", "persistence", "cluster")
"""What may be wrong, by name: few values, for metrics."""


@dataclass(frozen=True)
class Mistake:
    """A setting that is wrong.

    Attributes:
        kind: one of `KINDS`.
        seen: what it is, and what follows.
        fix: what to do.
    """

    kind: str
    seen: str
    fix: str


def mistakes_in(info: Mapping[str, Any]) -> list[Mistake]:
    """What is wrong with a Redis.

    Args:
        info: Its answer to INFO.
    """
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(Mistake("eviction", f"maxmemory-policy is {policy}: a full Redis drops jobs and schedules", "set it to noeviction"))
    if not info.get("aof_enabled", 1):
        seen = "appendonly is off: what was written since the last snapshot is lost with the process"
        found.append(Mistake("persistence", seen, "start Redis with --appendonly yes --appendfsync always"))
    if info.get("cluster_enabled"):
        seen = "cluster mode is on: the scripts need all keys on one node"
        found.append(Mistake("cluster", seen, "use one without cluster mode"))
    return found
