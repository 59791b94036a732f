"""The request at hand, as a job remembers it."""

import structlog

from ays_process.tracing import traceparent
from ays_store import Origin


def origin() -> Origin:
    """Id and trace of the request that is being answered."""
    return Origin(request_id=structlog.contextvars.get_contextvars().get("request_id", ""), traceparent=traceparent())
