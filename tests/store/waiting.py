"""Waiting for something to become true, with a deadline instead of luck."""

import time


def until(ready, *, seconds=20.0, what="it"):
    """Return the first true value of `ready()`."""
    end = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > end:
            msg = f"{what} did not happen within {seconds} s; last value {value!r}"
            raise AssertionError(msg)
        time.sleep(0.01)
