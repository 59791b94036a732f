"""Being asked to end: an event, and the time that is left to finish what is in hand."""

import threading
import time


class Drain(threading.Event):
    """Set when the worker is asked to end.

    Args:
        finish_seconds: how long a shard in hand may go on then.
    """

    def __init__(self, *, finish_seconds: float) -> None:
        super().__init__()
        self._finish = finish_seconds
        self._until = float("inf")

    def set(self) -> None:
        """Ask for the end."""
        self._until = min(self._until, time.monotonic() + self._finish)
        super().set()

    @property
    def over(self) -> bool:
        """Whether what is in hand has to stop, too."""
        return self.is_set() and time.monotonic() > self._until
