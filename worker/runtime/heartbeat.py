"""The heartbeat: a thread that says the worker is alive and keeps the lease of what it is doing, however long a batch takes."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from redis.exceptions import RedisError

from ays_store import Store
from worker.runtime.attempt import Lease

Info = Mapping[str, str | int | float | None]

_log = structlog.stdlib.get_logger(__name__)


class Heartbeat(threading.Thread):
    """The heartbeat of a worker."""

    def __init__(self, store: Store, *, name: str, info: Info, every_seconds: float) -> None:
        """Prepares the thread.

        Args:
            store: An impatient store: a late heartbeat is worth nothing.
            name: The worker's name.
            info: What it says about itself.
            every_seconds: Time between two beats, a fraction of the lease.
        """
        super().__init__(name="heartbeat", daemon=True)
        self.lease: Lease | None = None
        self._store = store
        self._worker = name
        self._info = info
        self._every = every_seconds
        self._others: list[Callable[[], None]] = []
        self._end = threading.Event()
        self._away = False
        self._evaluations = 0
        self._counting = threading.Lock()

    def keep_alive(self, renew: Callable[[], None]) -> None:
        """Renews something else with every beat.

        Args:
            renew: Does it.
        """
        self._others.append(renew)

    def count(self, evaluations: int) -> None:
        """Takes note of evaluations; the next beat tells their number.

        Args:
            evaluations: How many more there are.
        """
        with self._counting:
            self._evaluations += evaluations

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Keeps a lease meanwhile."""
        self.lease = lease
        try:
            yield
        finally:
            self.lease = None

    def run(self) -> None:
        """Beats until `end`."""
        while not self._end.is_set():
            try:
                self.beat()
            except RedisError as error:
                if not self._away:
                    _log.warning("redis is away", error=str(error))
                self._away = True
            except Exception:
                # A heart that stops would give the job away while it runs.
                _log.exception("a beat went wrong")
            else:
                if self._away:
                    _log.info("redis is back")
                self._away = False
            self._end.wait(self._every)

    def beat(self) -> None:
        """Beats once."""
        lease = self.lease
        if lease is not None:
            lease.renew(self._store)
        evaluations = self._evaluations
        info = {**self._info, "job": lease.job_id if lease else None}
        self._store.workers.beat(self._worker, info, evaluations=evaluations)
        self.count(-evaluations)
        for renew in self._others:
            renew()

    def end(self) -> None:
        """Stops the thread and says that the worker is gone."""
        self._end.set()
        self.join()
        try:
            self._store.workers.leave(self._worker, evaluations=self._evaluations)
        except RedisError as error:
            _log.warning("could not say goodbye; the heartbeat runs out by itself", error=str(error))
