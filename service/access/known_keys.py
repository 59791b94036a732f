"""The keys that this process has seen lately, so that most requests need no Redis, and that it still knows while Redis is away.

A record is believed for `FRESH_SECONDS`: a revoked key opens nothing after that time. It is read again ahead of need, with nobody
waiting. While Redis cannot be asked, a key that was good when it was last read stays good for the grace; a key that this process
has never seen cannot be judged, and is told to come back.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from ays_store.api_keys import ApiKey

FRESH_SECONDS = 5.0
"""After so long a revoked key is refused, wherever it was used."""

_log = structlog.get_logger("service")


@dataclass
class _Entry:
    key: ApiKey
    read_at: float


class KnownKeys:
    """Records of keys by id; used by one event loop.

    Args:
        read: reads a record from Redis, blocking; None: there is no such key.
        grace_seconds: how long a key stays good without Redis.
    """

    def __init__(self, read: Callable[[str], ApiKey | None], *, grace_seconds: float) -> None:
        self._read = read
        self._grace = grace_seconds
        self._entries: dict[str, _Entry] = {}
        self._asking: dict[str, asyncio.Task[RedisError | None]] = {}
        self._away = False

    async def find(self, key_id: str) -> ApiKey | None:
        """The record of a key; None when there is no such key.

        Args:
            key_id: its public part.

        Raises:
            redis.RedisError: Redis cannot be asked, and this process does not know the key well enough to go without.
        """
        entry = self._entries.get(key_id)
        age = time.monotonic() - entry.read_at if entry else 0.0
        if entry and age < FRESH_SECONDS / 2:
            return entry.key
        if entry and (age < FRESH_SECONDS or (self._away and age < self._grace)):
            self._ask(key_id)
            return entry.key
        if self._away and self._asking and key_id not in self._asking:
            # One question at a time finds out whether Redis is back; strangers must not fill the threads with waiting.
            msg = "Redis was away a moment ago"
            raise RedisError(msg)
        error = await asyncio.shield(self._ask(key_id))
        if error is not None and (entry is None or age > self._grace):
            raise error
        known = self._entries.get(key_id)
        return known.key if known else None

    def knows(self, key_id: str) -> bool:
        """Whether a key was good when it was last read.

        Args:
            key_id: its public part.
        """
        return key_id in self._entries

    async def still_good(self, key_id: str) -> bool:
        """Whether a key that has opened something may keep it open; while Redis cannot be asked, it may.

        Args:
            key_id: its public part.
        """
        try:
            return await self.find(key_id) is not None
        except RedisError:
            return True

    def _ask(self, key_id: str) -> "asyncio.Task[RedisError | None]":
        if key_id not in self._asking:
            task = self._asking[key_id] = asyncio.create_task(self._refresh(key_id))
            task.add_done_callback(lambda _: self._asking.pop(key_id))
        return self._asking[key_id]

    async def _refresh(self, key_id: str) -> RedisError | None:
        start = time.monotonic()
        try:
            key = await run_in_threadpool(self._read, key_id)
        except RedisError as error:
            if not self._away:
                _log.warning("keys cannot be read; known ones stay good for a while", error=f"{type(error).__name__}: {error}")
            self._away = True
            return error
        self._away = False
        if key is None:
            self._entries.pop(key_id, None)
        else:
            self._entries[key_id] = _Entry(key, start)
        return None
