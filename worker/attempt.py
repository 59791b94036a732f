"""An attempt at a job: what it holds, and the reasons to stop it.

The reasons are raised between batches, by whoever asks `check()`. They are no `Exception`: neither a model's code nor ours may
take them for a failure and carry on.
"""

import threading
import time
from typing import NoReturn

from ays_store import Standing


class Interruption(BaseException):
    """The attempt has to stop."""


class Canceled(Interruption):
    """Somebody canceled the job."""


class Drained(Interruption):
    """The worker is asked to end: the job goes back to the queue."""


class Superseded(Interruption):
    """The job was given to another attempt: this one may not write any more."""


class Attempt:
    """A token for a job, and the flags that other threads raise."""

    def __init__(self, job_id: str, token: int, *, drain: threading.Event) -> None:
        self.job_id = job_id
        self.token = token
        self.began = time.monotonic()
        self._drain = drain
        self._standing = Standing.HELD

    def note(self, standing: Standing) -> None:
        """Remembers what the store said; a bad answer is never taken back.

        Args:
            standing: What it said.
        """
        if self._standing is not Standing.STALE and standing is not Standing.HELD:
            self._standing = standing

    def check(self) -> None:
        """Raises the reason to stop, if there is one."""
        if self._standing is not Standing.HELD or self._drain.is_set():
            self._stop()

    def _stop(self) -> NoReturn:
        if self._standing is Standing.STALE:
            raise Superseded
        if self._standing is Standing.CANCEL:
            raise Canceled
        raise Drained
