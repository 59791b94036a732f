"""The reaper: a thread in every worker that puts right what others have left when they died.

Jobs whose lease ran out go back to the queue, jobs that are queued by our records but in no queue are enqueued, and what RQ
has kept of dead workers goes away. One worker at a time does it.
"""

import threading
import time
from typing import Any

import structlog
from redis.exceptions import RedisError

from ays_store import Queue, Store, keys

_SWEEP_EVERY = 30.0

_log = structlog.stdlib.get_logger(__name__)


class Reaper(threading.Thread):
    """Recovers lost jobs."""

    def __init__(self, store: Store, queue: Queue, *, every_seconds: float, lease_seconds: float) -> None:
        """Prepares the thread.

        Args:
            store: An impatient store.
            queue: The queue.
            every_seconds: Time between two rounds.
            lease_seconds: Leases are given this long to be renewed after Redis was away: their holders could not.
        """
        super().__init__(name="reaper", daemon=True)
        self._store = store
        self._queue = queue
        self._every = every_seconds
        self._lease = lease_seconds
        self._back = float("-inf")
        self._swept = float("-inf")
        self._end = threading.Event()

    def run(self) -> None:
        """Makes its rounds until `end`."""
        while not self._end.wait(self._every):
            try:
                if self._turn():
                    self.round()
            except RedisError as error:
                self._back = time.monotonic()
                _log.warning("reaper could not make its round", error=str(error))
            except Exception:
                # Something in RQ's keys that RQ cannot read: no reason to leave the jobs of the dead alone.
                _log.exception("reaper could not finish its round")

    def round(self) -> None:
        """Makes one round."""
        if self._settled():
            queued, ended = self._store.jobs.reap()
            for job_id in queued:
                self._queue.enqueue(job_id)
                _log.warning("job taken from a dead worker and queued again", **self._about(job_id))
            for job_id in ended:
                _log.warning("job of a dead worker ended", **self._about(job_id))
        for job_id in self._queue.reconcile(grace_seconds=self._lease / 2):
            _log.warning("job was in no queue; queued again", **self._about(job_id))
        if time.monotonic() - self._swept > _SWEEP_EVERY:
            self._swept = time.monotonic()
            self._queue.sweep()
            self._store.jobs.forget()

    def end(self) -> None:
        """Stops the thread."""
        self._end.set()
        self.join()

    def _about(self, job_id: str) -> dict[str, str]:
        return {"job": job_id, "request_id": self._store.jobs.origin(job_id).request_id}

    def _turn(self) -> bool:
        redis: Any = self._store.redis
        return bool(redis.set(keys.REAPER, "1", nx=True, px=max(1, int(self._every * 900))))

    def _settled(self) -> bool:
        redis: Any = self._store.redis
        uptime = float(redis.info("server")["uptime_in_seconds"])
        return uptime > self._lease and time.monotonic() - self._back > self._lease
