"""What a worker is doing, an attempt at a job or a shard for another's: what it holds, and the reasons to stop it.

The reasons are raised between batches, by whoever asks `check()`. They are no `Exception`: neither a model's code nor ours may
take them for a failure and carry on.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ays_store import Measurement, Standing, Store
from worker.runtime.drain import Drain


class Interruption(BaseException):
    """The work has to stop."""


class Canceled(Interruption):
    """Somebody canceled the job."""


class Drained(Interruption):
    """The worker is asked to end: the job goes back to the queue."""


class Superseded(Interruption):
    """The job or the shard was given to another: this one may not write any more."""


class Lease(ABC):
    """Something that is held as long as it is renewed, and the flags that other threads raise."""

    def __init__(self, job_id: str, *, drain: Drain) -> None:
        self.job_id = job_id
        self.began = time.monotonic()
        self._drain = drain
        self._standing = Standing.HELD
        self._in_hand = False

    @abstractmethod
    def renew(self, store: Store) -> None:
        """Renews it.

        Args:
            store: Where it is held.
        """

    def note(self, standing: Standing) -> None:
        """Remembers what the store said; a bad answer is never taken back.

        Args:
            standing: What it said.
        """
        if self._standing is not Standing.STALE and standing is not Standing.HELD:
            self._standing = standing

    def check(self) -> None:
        """Raises the reason to stop, if there is one."""
        drained = self._drain.over if self._in_hand else self._drain.is_set()
        if self._standing is not Standing.HELD or drained:
            self._stop()

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Goes on meanwhile with what is in hand when the worker is asked to end, as long as there is time."""
        self._in_hand = True
        try:
            yield
        finally:
            self._in_hand = False

    def _stop(self) -> NoReturn:
        if self._standing is Standing.STALE:
            raise Superseded
        if self._standing is Standing.CANCEL:
            raise Canceled
        raise Drained


class Attempt(Lease):
    """A token for a job, and the shard of it that this worker is at."""

    def __init__(self, job_id: str, token: int, *, drain: Drain) -> None:
        super().__init__(job_id, drain=drain)
        self.token = token
        self._also: Callable[[Store], object] | None = None

    def renew(self, store: Store) -> None:
        """Renews the lease of the job, and that of its shard.

        Args:
            store: Where it is held.
        """
        self.note(store.jobs.renew(self.job_id, self.token))
        also = self._also
        if also is not None:
            also(store)

    @contextmanager
    def renewing(self, also: Callable[[Store], object]) -> Iterator[None]:
        """Renews something else meanwhile, too, whose loss is no reason to stop.

        Args:
            also: Renews it.
        """
        self._also = also
        try:
            yield
        finally:
            self._also = None


class Help(Lease):
    """A shard that is measured for the job of another worker."""

    def __init__(self, job_id: str, shard: str, *, of: Measurement, worker: str, drain: Drain) -> None:
        super().__init__(job_id, drain=drain)
        self.shard = shard
        self.of = of
        self._worker = worker

    def renew(self, store: Store) -> None:
        """Renews the lease of the shard.

        Args:
            store: Where it is held.
        """
        self.note(store.shards.renew(self.of, self.job_id, self._worker, self.shard))
