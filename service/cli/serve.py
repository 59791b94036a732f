"""`ays serve`: the whole stack in the foreground until Ctrl-C or SIGTERM."""

import signal
import sys
import threading
from types import FrameType

from service.local.stack import Stack

_TEND_SECONDS = 0.2


class StopSignals:
    """Catches Ctrl-C and SIGTERM: the first one asks to stop, a second Ctrl-C interrupts whatever is still being waited for."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def received(self) -> bool:
        """Whether a signal has come."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for a signal, at most so long; whether one has come."""
        return self._event.wait(seconds)


def serve(stack: Stack, *, asks_for_keys: bool) -> None:
    """Run a stack until a signal ends it.

    Args:
        stack: a stack that has not been started.
        asks_for_keys: whether it asks for API keys.

    Raises:
        StackError: it does not come up.
        EmbeddedRedisError: its Redis does not come up.
    """
    signals = StopSignals()
    try:
        stack.start()
        if stack.wait_ready(stopping=lambda: signals.received):
            sys.stdout.write(f"API       {stack.url}\nAPI docs  {stack.url}/docs\nPage      {stack.url}/\n")
            sys.stdout.flush()
            if asks_for_keys:
                sys.stderr.write("requests need an API key; `ays keys create --name me --scope submit` makes one\n")
            sys.stderr.write("ready; Ctrl-C stops everything\n")
        while not signals.wait(_TEND_SECONDS):
            stack.tend()
        sys.stderr.write("stopping\n")
    finally:
        stack.stop()
