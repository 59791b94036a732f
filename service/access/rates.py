"""How many requests a caller may make: counted in Redis for all processes together, spent here without asking for each.

A process takes a share of a caller's bucket at a time and spends it before it asks again, so that a read costs no Redis. What it
holds and has not spent is missing for the others: at most one share per process. While Redis is away every process counts by
itself, at the same rate.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from ays_store.rates import Taken

WINDOW_SECONDS = 60.0

_SHARES = 50
_AGAIN_SECONDS = 1.0
"""After a failure Redis is left alone for so long."""


@dataclass(frozen=True)
class Rate:
    """Requests of one class that a caller may make.

    Attributes:
        name: the class.
        per_minute: how many, all at once or one after the other; 0: any number.
        shared: whether a process may take more than one at a time.
    """

    name: str
    per_minute: int
    shared: bool

    @property
    def share(self) -> int:
        """How many a process takes at a time."""
        return max(1, self.per_minute // _SHARES) if self.shared else 1


class Admission(NamedTuple):
    """Whether a request may go on.

    Attributes:
        rate: the rate it was counted by.
        granted: whether it may.
        left: how many more may, at once.
        reset_seconds: time until all may again.
        wait_seconds: time after which to try again.
    """

    rate: Rate
    granted: bool
    left: int
    reset_seconds: float
    wait_seconds: float


@dataclass
class _Held:
    """What this process holds of a bucket, and its own count of it while Redis is away."""

    tokens: int = 0
    until: float = 0.0
    left: int = 0
    full_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Admissions:
    """Counts the requests of callers; used by one event loop.

    Args:
        take: takes requests from a bucket in Redis, blocking.
    """

    def __init__(self, take: Callable[..., Taken]) -> None:
        self._take = take
        self._held: dict[str, _Held] = {}
        self._alone_until = 0.0

    async def admit(self, caller: str, rate: Rate) -> Admission:
        """Count a request.

        Args:
            caller: id of the caller.
            rate: what it is counted by.
        """
        bucket = f"{rate.name}:{caller}"
        held = self._held.get(bucket)
        if held is None:
            held = self._held[bucket] = _Held()
        if not self._spend(held):
            async with held.lock:
                # Another request may have filled it while this one waited.
                if not self._spend(held):
                    taken = await self._refill(bucket, rate, held)
                    if not self._spend(held):
                        return Admission(rate, False, 0, taken.full_seconds, taken.wait_seconds)
        return Admission(rate, True, held.tokens + held.left, max(0.0, held.full_at - time.monotonic()), 0.0)

    @staticmethod
    def _spend(held: _Held) -> bool:
        if held.tokens < 1 or time.monotonic() > held.until:
            return False
        held.tokens -= 1
        return True

    async def _refill(self, bucket: str, rate: Rate, held: _Held) -> Taken:
        taken = None
        if time.monotonic() >= self._alone_until:
            try:
                taken = await run_in_threadpool(self._take, bucket, capacity=rate.per_minute, seconds=WINDOW_SECONDS, wanted=rate.share)
            except RedisError:
                self._alone_until = time.monotonic() + _AGAIN_SECONDS
        now = time.monotonic()
        if taken is None:
            taken = _alone(rate, held, now)
        held.tokens, held.left = taken.granted, taken.left
        held.until, held.full_at = now + WINDOW_SECONDS, now + taken.full_seconds
        return taken


def _alone(rate: Rate, held: _Held, now: float) -> Taken:
    """The same count as in Redis, by this process alone, one request at a time."""
    interval = WINDOW_SECONDS / rate.per_minute
    full = max(held.full_at, now)
    left = int((now + WINDOW_SECONDS - full) / interval + 1e-9)
    if left < 1:
        return Taken(0, 0, full - now, full + interval - now - WINDOW_SECONDS)
    return Taken(1, left - 1, full + interval - now, 0.0)
