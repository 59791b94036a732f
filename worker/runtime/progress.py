"""Progress: told a few times a second, to a Redis that may be away, by a computation that does not wait for it."""

import time
from collections.abc import Callable

import structlog
from opentelemetry.trace import get_current_span
from redis.exceptions import RedisError

from ays_client.contract import Progress
from ays_store import Store
from worker.runtime.attempt import Attempt

_EVERY_SECONDS = 0.25

_log = structlog.stdlib.get_logger(__name__)


class Reporter:
    """Tells the progress of an attempt, and stops it when there is a reason to."""

    def __init__(self, attempt: Attempt, store: Store, *, count: Callable[[int], None]) -> None:
        """Begins to report.

        Args:
            attempt: The attempt.
            store: An impatient store.
            count: Told how many evaluations there are more.
        """
        self._attempt = attempt
        self._store = store
        self._count = count
        self._evaluations = 0
        self._stage = ""
        self._told = 0.0

    def report(self, progress: Progress) -> None:
        """Publishes progress, a few times a second at most; a new stage and the end of one are always told.

        Args:
            progress: Where the computation is.

        Raises:
            Interruption: If it has to stop.
        """
        self._count(max(0, progress.evaluations - self._evaluations))
        self._evaluations = max(self._evaluations, progress.evaluations)
        self._attempt.check()
        now, ended = time.monotonic(), 0 < progress.total == progress.done
        if progress.stage == self._stage and not ended and now - self._told < _EVERY_SECONDS:
            return
        if progress.stage != self._stage:
            get_current_span().add_event(progress.stage)
        self._stage, self._told = progress.stage, now
        try:
            self._attempt.note(self._store.jobs.report(self._attempt.job_id, self._attempt.token, progress))
        except RedisError as error:
            _log.warning("progress not told", error=str(error))
        self._attempt.check()
