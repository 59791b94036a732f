"""The request at hand, as a job remembers it."""

import structlog

from ays_process.tracing import traceparent
from ays_store import Origin


def origin(owner: str) -> Origin:
    """Id and trace of the request that is being answered.

    Args:
        owner: who makes it.
    """
    return Origin(structlog.contextvars.get_contextvars().get("request_id", ""), traceparent(), owner)
