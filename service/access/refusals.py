"""Refused keys by client address: whoever tries keys is told to wait, before Redis is asked for the next one."""

import math
import time
from collections import OrderedDict

PER_MINUTE = 30
"""Refusals of an address in a minute; more are answered with 429."""

_INTERVAL = 60.0 / PER_MINUTE
_ADDRESSES_MAX = 10_000


class Refusals:
    """Counts refused keys; each address has a bucket of `PER_MINUTE`, which fills again within a minute."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """Whole seconds until another key of an address is looked at; 0: at once.

        Args:
            address: the client's.
        """
        over = self._full_at.get(address, 0.0) - time.monotonic() - 60.0
        return math.ceil(over + _INTERVAL) if over + _INTERVAL > 0 else 0

    def count(self, address: str) -> None:
        """Note that a key was refused.

        Args:
            address: the client's.
        """
        now = time.monotonic()
        self._full_at[address] = max(self._full_at.get(address, 0.0), now) + _INTERVAL
        self._full_at.move_to_end(address)
        while len(self._full_at) > _ADDRESSES_MAX:
            self._full_at.popitem(last=False)
