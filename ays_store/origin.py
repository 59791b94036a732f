"""Where a job came from: what its worker puts into its own logs and traces, so that both ends can be found together."""

from dataclasses import dataclass

ANONYMOUS = "anonymous"
"""The owner of what was asked for without a key."""


@dataclass(frozen=True)
class Origin:
    """The request that created or restarted a job.

    Attributes:
        request_id: id of the HTTP request, '' where there was none.
        traceparent: context of its trace (W3C), '' where it was not traced.
        owner: public id of the API key that it came with, or `ANONYMOUS`; the queue is fair between owners.
    """

    request_id: str = ""
    traceparent: str = ""
    owner: str = ANONYMOUS


NOWHERE = Origin()
"""A job that no request asked for."""
