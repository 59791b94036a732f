"""The watchdog: ends the process when a job neither ends nor stops, or when nobody keeps it. Another attempt takes the job over."""

import os
import signal
import threading
import time
from collections.abc import Callable

import structlog

from worker.process import exits
from worker.runtime.attempt import Lease

_log = structlog.stdlib.get_logger(__name__)


class Watchdog(threading.Thread):
    """Watches the main thread from outside: code that hangs in native code sees neither signals nor exceptions."""

    def __init__(
        self,
        *,
        lease: Callable[[], Lease | None],
        drain: threading.Event,
        job_seconds: float,
        drain_seconds: float,
        supervisor: int | None = None,
        grace_seconds: float = 60.0,
    ) -> None:
        """Prepares the thread.

        Args:
            lease: Tells what the worker is doing.
            drain: Set when the worker is asked to end.
            job_seconds: How long a job may run; then RQ raises in the main thread.
            drain_seconds: How long the worker may take to end.
            supervisor: Process id of our parent, without which we end; None: nobody keeps us.
            grace_seconds: How long a job may take to end when it should.
        """
        super().__init__(name="watchdog", daemon=True)
        self._lease = lease
        self._drain = drain
        self._job = job_seconds + grace_seconds
        self._drain_seconds = drain_seconds
        self._supervisor = supervisor

    def run(self) -> None:
        """Watches until the process ends."""
        while not self._drain.wait(1.0):
            lease = self._lease()
            if lease is not None and time.monotonic() - lease.began > self._job:
                _log.critical("the job hangs; ending the process", job=lease.job_id, seconds=self._job)
                os._exit(exits.HUNG)
            if self._supervisor is not None and os.getppid() != self._supervisor:
                _log.error("the supervisor of this process is gone; ending it")
                os.kill(os.getpid(), signal.SIGTERM)
                break
        _log.info("the worker is asked to end", within_seconds=self._drain_seconds)
        time.sleep(self._drain_seconds)
        _log.critical("the worker did not end in time; ending the process", seconds=self._drain_seconds)
        os._exit(exits.HUNG)
