"""Where a job came from: what its worker puts into its own logs and traces, so that both ends can be found together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The request that created or restarted a job.

    Attributes:
        request_id: id of the HTTP request, '' where there was none.
        traceparent: context of its trace (W3C), '' where it was not traced.
    """

    request_id: str = ""
    traceparent: str = ""


NOWHERE = Origin()
"""A job that no request asked for."""
