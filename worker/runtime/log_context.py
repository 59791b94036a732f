"""A job's logs and its trace: everything that is told while it is worked on can be found by the request that asked for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.trace import Span

from ays_process.tracing import Tracing
from ays_store import Store


@contextmanager
def log_context(store: Store, tracing: Tracing, job_id: str, *, what: str, **known: str | int) -> Iterator[Span]:
    """Binds a job's id and its request's id to the log lines of this thread, and opens a span below that of the request.

    Args:
        store: Where the job is.
        tracing: The tracer.
        job_id: The job.
        what: What is done for it, the name of the span.
        **known: What else is known, for both.
    """
    origin = store.jobs.origin(job_id)
    told = {"job": job_id, **({"request_id": origin.request_id} if origin.request_id else {}), **known}
    attributes = {f"ays.{name}": value for name, value in told.items()}
    with (
        structlog.contextvars.bound_contextvars(**told),
        tracing.consuming(what, traceparent=origin.traceparent, attributes=attributes) as span,
    ):
        yield span
