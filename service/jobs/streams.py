"""A job's events as server-sent events, until the final one."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from ays_client.contract import Event, Job, JobState
from ays_store import Store
from service.jobs.feed import Feed, Follower

_SILENCE_SECONDS = 2.0
"""After so long without an event the job's record is looked at: a lost job has nobody who would announce it."""

_PAUSE_SECONDS = 1.0
"""So often at least the stream looks whether it may go on."""

_RETRY_MILLISECONDS = 1000


class Stream:
    """The server-sent events of one job for one client.

    Args:
        store: the store.
        feed: the reader of events.
        job_id: the job.
        after: id of the last event that the client has seen.
        seconds: the stream is ended after so long; the client resumes it.
        heartbeat: a comment is sent at least so often, in seconds.
        allowed: asked now and then whether the client may see more.
    """

    def __init__(
        self,
        store: Store,
        feed: Feed,
        *,
        job_id: str,
        after: str,
        seconds: float,
        heartbeat: float,
        allowed: Callable[[], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._feed = feed
        self._job_id = job_id
        self._after = after
        self._end = time.monotonic() + seconds
        self._heartbeat = heartbeat
        self._allowed = allowed
        self._state: JobState | None = None
        self._looked = -math.inf

    async def __aiter__(self) -> AsyncIterator[str]:
        """Text of the stream, event by event."""
        yield f"retry: {_RETRY_MILLISECONDS}\n\n"
        sent = time.monotonic()
        with self._feed.follow(self._job_id, self._after) as follower:
            while not self._feed.closing and time.monotonic() < self._end and await self._allowed():
                texts = await self._news(follower)
                for text in texts:
                    yield text
                if self._state is not None and self._state.final:
                    return
                if texts:
                    sent = time.monotonic()
                elif time.monotonic() - sent >= self._heartbeat:
                    yield ": heartbeat\n\n"
                    sent = time.monotonic()
        # An end that is not the job's: a client of the standard comes back by itself, others can read what to do.
        yield f": not the end of the job; connect again with Last-Event-ID\nretry: {_RETRY_MILLISECONDS}\n\n"

    async def _news(self, follower: Follower) -> list[str]:
        pause = min(_PAUSE_SECONDS, self._heartbeat, max(self._end - time.monotonic(), 0.0))
        try:
            entries = await follower.next(pause)
            job = None if entries else await self._unannounced()
            if job is not None:
                # Its record and its events change together: what is stored by now has to come first.
                entries = await follower.catch_up()
        except RedisError:
            # The client keeps its stream: whatever happens meanwhile is read once Redis is back.
            await follower.rest(pause)
            return []
        if entries:
            self._state = entries[-1].event.state
            return [_text(entry.event, entry.id) for entry in entries]
        if job is not None:
            self._state = job.state
            return [_text(event_of(job))]
        return []

    async def _unannounced(self) -> Job | None:
        """The job, when it is in a state that may have no event, and that the client does not know of."""
        if self._feed.closing or time.monotonic() - self._looked < _SILENCE_SECONDS:
            return None
        self._looked = time.monotonic()
        job = await run_in_threadpool(self._store.jobs.get, self._job_id)
        if job is None or job.state is self._state:
            return None
        return job if job.state.final or job.state is JobState.LOST else None


def event_of(job: Job) -> Event:
    """The event that says where a job is now."""
    lost = "the worker's heartbeat is overdue; another worker takes the job over if there is one"
    error = lost if job.state is JobState.LOST else job.error
    return Event(state=job.state, progress=job.progress, error=error, schedule_url=job.schedule_url)


def _text(event: Event, event_id: str | None = None) -> str:
    # An event that is not stored has no id: the client resumes after the last stored one.
    mark = f"id: {event_id}\n" if event_id else ""
    return f"{mark}data: {event.model_dump_json()}\n\n"
