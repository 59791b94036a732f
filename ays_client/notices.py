"""Warnings that a server's log has once, however many requests meet the same cause."""

import logging
from functools import lru_cache

_log = logging.getLogger("ays_client")


@lru_cache(256)
def warn_once(message: str) -> None:
    """Log a warning, unless this one has been logged before.

    Args:
        message: the whole warning.
    """
    _log.warning(message)
