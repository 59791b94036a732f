"""The watchdog: ends the process when a job neither ends nor stops. Its lease then runs out, and another attempt takes over."""

import os
import threading
import time
from collections.abc import Callable

import structlog

from worker.attempt import Attempt

EXIT_CODE = 70
"""Exit status of a process that its watchdog ended."""

_log = structlog.stdlib.get_logger(__name__)


class Watchdog(threading.Thread):
    """Watches the main thread from outside: code that hangs in native code sees neither signals nor exceptions."""

    def __init__(
        self,
        *,
        attempt: Callable[[], Attempt | None],
        drain: threading.Event,
        job_seconds: float,
        drain_seconds: float,
        grace_seconds: float = 60.0,
    ) -> None:
        """Prepares the thread.

        Args:
            attempt: Tells what the worker is doing.
            drain: Set when the worker is asked to end.
            job_seconds: How long a job may run; then RQ raises in the main thread.
            drain_seconds: How long the worker may take to end.
            grace_seconds: How long a job may take to end when it should.
        """
        super().__init__(name="watchdog", daemon=True)
        self._attempt = attempt
        self._drain = drain
        self._job = job_seconds + grace_seconds
        self._drain_seconds = drain_seconds

    def run(self) -> None:
        """Watches until the process ends."""
        while not self._drain.wait(1.0):
            attempt = self._attempt()
            if attempt is not None and time.monotonic() - attempt.began > self._job:
                _log.critical("the job hangs; ending the process", job=attempt.job_id, seconds=self._job)
                os._exit(EXIT_CODE)
        time.sleep(self._drain_seconds)
        _log.critical("the worker did not end in time; ending the process", seconds=self._drain_seconds)
        os._exit(EXIT_CODE)
