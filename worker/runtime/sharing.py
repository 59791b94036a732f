"""Sharing the shards of a profile: the worker of a job measures them one after the other, and whoever is idle helps.

The worker of the job never waits for a shard that it could measure itself, so that nothing depends on helpers: they may be none,
be slow, die or fail. What they cannot do comes back to it.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from ays_store import Measurement, Queue, Store
from worker.runtime.attempt import Attempt

_WAIT_SECONDS = 0.02

_log = structlog.stdlib.get_logger(__name__)


class Sharing:
    """The shards of one measurement, on behalf of an attempt at a job."""

    def __init__(self, attempt: Attempt, *, of: Measurement, model: str, worker: str, store: Store, queue: Queue) -> None:
        """Connects the parts.

        Args:
            attempt: The attempt.
            of: What is measured.
            model: Id of its model.
            worker: The worker of the attempt.
            store: A patient store.
            queue: Where helpers are called.
        """
        self._attempt = attempt
        self._of = of
        self._model = model
        self._worker = worker
        self._store = store
        self._queue = queue
        self._edition = b""

    def look(self) -> None:
        """Takes note of what is stored of the profile now: whoever gathers after that has no use for it."""
        self._edition = self._store.shards.edition(self._of, self._model)

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str] | None:
        """Returns the bodies of shards by name, whoever has measured them; None when another job has stored a whole profile meanwhile.

        Args:
            shards: Their names.
            measure: Measures one.
            arrived: Told of each that another worker has measured meanwhile.

        Raises:
            Interruption: If the attempt has to stop.
        """
        bodies = self._store.shards.read(self._of, shards)
        missing = [shard for shard in shards if shard not in bodies]
        if not missing:
            return bodies
        if self._offer(missing) is None:
            return None
        calls = self._queue.call_for_help(self._attempt.job_id, self._attempt.token, missing[1:])
        try:
            while missing:
                self._measure_one(missing, bodies, measure)
                finished = self._offer([shard for shard in missing if shard not in bodies])
                if finished is None:
                    return None
                for shard, body in self._store.shards.read(self._of, finished).items():
                    bodies[shard] = body
                    arrived(shard)
                missing = [shard for shard in missing if shard not in bodies]
        finally:
            self._queue.withdraw(calls)
        return bodies

    def _offer(self, shards: Sequence[str]) -> list[str] | None:
        return self._store.shards.offer(self._of, self._model, shards, edition=self._edition)

    def _measure_one(self, missing: Sequence[str], bodies: dict[str, str], measure: Callable[[str], str]) -> None:
        """Measures a shard that is free, or waits a little where others are at all of them."""
        self._attempt.check()
        shards = self._store.shards
        shard = shards.take(self._of, self._attempt.job_id, self._worker, missing)
        if shard is None:
            time.sleep(_WAIT_SECONDS)
            return
        try:
            renew = partial(self._renew, shard)
            with self._attempt.renewing(renew), self._attempt.finishing():
                body = measure(shard)
        except BaseException:
            shards.hand_back(self._of, self._worker, shard)
            raise
        # Another may have been quicker after all, while this one was frozen: everybody uses the body that stands.
        kept = shards.keep(self._of, shard, body)
        _log.debug("shard kept" if kept else "shard measured in vain", profile=self._of.profile_id, shard=shard)
        if kept:
            bodies[shard] = body

    def _renew(self, shard: str, store: Store) -> None:
        store.shards.renew(self._of, self._attempt.job_id, self._worker, shard)
