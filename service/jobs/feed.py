"""Events of all followed jobs, read from Redis by one reader per process and handed to every follower.

A follower starts at a place in its job's stream: it reads what is there already, then waits for the reader. One that falls
too far behind drops what it holds and reads it from Redis again, so a slow client costs no memory.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import structlog
from redis.exceptions import RedisError

from ays_store import Entry, Store
from service.serving.shutdown import Shutdown

_log = structlog.get_logger("service")

START = "0"
"""The place before the first event."""

_BLOCK_SECONDS = 0.25
_HELD_MAX = 500
_BACKLOG = 200

Backlog = Callable[[str, str], Awaitable[list[Entry]]]


class Follower:
    """One reader of one job's events.

    Args:
        job_id: the job.
        after: id of the last event that the reader has seen.
        backlog: reads stored events of a job after an id.
    """

    def __init__(self, job_id: str, after: str, backlog: Backlog) -> None:
        self.job_id = job_id
        self.last = after
        self._backlog = backlog
        self._held: deque[Entry] = deque()
        self._behind = True
        self._news = asyncio.Event()

    def hand(self, entries: list[Entry]) -> None:
        """Give it new events; some may be known to it already."""
        if len(self._held) + len(entries) > _HELD_MAX:
            self._held.clear()
            self._behind = True
        elif not self._behind:
            self._held.extend(entries)
        self._news.set()

    def wake(self) -> None:
        """Make it return from waiting."""
        self._news.set()

    async def next(self, seconds: float) -> list[Entry]:
        """Events after the last ones it returned; none when nothing came for so long, or when it was woken.

        Raises:
            redis.RedisError: the stored events cannot be read.
        """
        if self._behind:
            # From now on new events are held; those that are in the backlog too are dropped by their ids.
            self._behind = False
            entries = await self._read_backlog()
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
            self._news.clear()
            entries = list(self._held)
            self._held.clear()
        fresh = [entry for entry in entries if _place(entry.id) > _place(self.last)]
        if fresh:
            self.last = fresh[-1].id
        return fresh

    async def catch_up(self) -> list[Entry]:
        """The stored events after the last ones it returned, without waiting for the reader.

        Raises:
            redis.RedisError: they cannot be read.
        """
        self._behind = True
        return await self.next(0.0)

    async def rest(self, seconds: float) -> None:
        """Wait for so long, or until it is woken."""
        self._news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    async def _read_backlog(self) -> list[Entry]:
        try:
            entries = await self._backlog(self.job_id, self.last)
        except RedisError:
            self._behind = True
            raise
        if len(entries) >= _BACKLOG:
            self._behind = True
        return entries


class Feed:
    """The reader; `run` has to be running for followers to get news.

    Args:
        store: where the events are.
        shutdown: says when the server is about to exit.
    """

    def __init__(self, store: Store, shutdown: Shutdown) -> None:
        self._events = store.jobs.events
        self._shutdown = shutdown
        self._followers: dict[str, set[Follower]] = {}
        self._places: dict[str, str] = {}
        self._first = asyncio.Event()
        self._away = False
        # Two threads: the reader occupies one, backlogs use the other.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="feed")

    @property
    def closing(self) -> bool:
        """Whether followers should stop: the server is about to exit."""
        return self._shutdown.begun

    @contextmanager
    def follow(self, job_id: str, after: str) -> Iterator[Follower]:
        """Follow a job after an event.

        Args:
            job_id: the job.
            after: id of the last event seen, or `START`.
        """
        follower = Follower(job_id, after, self._backlog)
        self._followers.setdefault(job_id, set()).add(follower)
        self._places.setdefault(job_id, after)
        self._first.set()
        try:
            yield follower
        finally:
            self._followers[job_id].discard(follower)
            if not self._followers[job_id]:
                del self._followers[job_id], self._places[job_id]

    async def run(self) -> None:
        """Read until canceled."""
        try:
            while True:
                if not self._followers:
                    self._first.clear()
                    await self._first.wait()
                await self._step()
                if self.closing:
                    for follower in self._all():
                        follower.wake()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        places = dict(self._places)
        try:
            found = await loop.run_in_executor(self._threads, lambda: self._events.read(places, block_seconds=_BLOCK_SECONDS))
        except RedisError as error:
            if not self._away:
                _log.warning("events cannot be read", error=f"{type(error).__name__}: {error}")
            self._away = True
            await asyncio.sleep(_BLOCK_SECONDS)
            return
        self._away = False
        for job_id, entries in found.items():
            if job_id in self._places:
                self._places[job_id] = entries[-1].id
            for follower in self._followers.get(job_id, ()):
                follower.hand(entries)

    def _all(self) -> list[Follower]:
        return [follower for followers in self._followers.values() for follower in followers]

    async def _backlog(self, job_id: str, after: str) -> list[Entry]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, lambda: self._events.read({job_id: after}, count=_BACKLOG))
        return found.get(job_id, [])


def _place(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
