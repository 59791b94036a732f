"""What can go wrong between a client and the service; every error carries the service's problem.

`BadRequest`: the request cannot be answered as it is, change it. `AccessDenied`, one of these: the service wants an API key, or a better
one. `NotFound`: there is no such model, job, profile or schedule (yet). `Unavailable`: no answer, or the service lacks Redis or a
worker, try again later. `JobFailed`: the job ended without a schedule. All of them are a `ServiceError`.
"""

from typing import Self

from ays_client.contract import Job, Problem


class ServiceError(Exception):
    """A request was not answered as asked.

    Args:
        problem: what was received, what is expected, how to fix it.
        retry_after: seconds after which to try again, where the service says so.
    """

    def __init__(self, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(sentence(problem))
        self.problem = problem
        self.retry_after = retry_after


class BadRequest(ServiceError):
    """The request cannot be answered as it is: a 4xx other than 404 and 429."""


class AccessDenied(BadRequest):
    """The API key is missing, unknown, revoked, or not good for this: 401 or 403."""


class NotFound(ServiceError):
    """There is no such model, job, profile or schedule: 404."""


class Unavailable(ServiceError):
    """The service did not answer, or lacks Redis or a worker: 429, any 5xx, a refused or broken connection, a timeout."""


class JobFailed(ServiceError):
    """The job ended as `failed` or `canceled`.

    Args:
        job: the job in its final state.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(
            Problem(
                title=f"Job {job.state.value}",
                status=200,
                detail=job.error or f"job {job.id} ended as {job.state.value}",
                fix="submit the request again" if job.state == "canceled" else None,
            )
        )
        self.job = job


class ScheduleRefused(ValueError):
    """A schedule is malformed, is not for this model, or cannot be run right by this scheduler."""

    @classmethod
    def of(cls, what: str, *, why: str, fix: str) -> Self:
        """Write the message in its order.

        Args:
            what: the scheduler class, or the schedule.
            why: what is wrong.
            fix: what to do.
        """
        return cls(f"{what} is refused: {why}; fix: {fix}")


def sentence(problem: Problem) -> str:
    """A problem on one line."""
    parts = [problem.detail.rstrip(".")]
    if problem.received is not None:
        parts.append(f"received: {problem.received}")
    if problem.expected:
        parts.append(f"expected: {problem.expected}")
    if problem.fix:
        parts.append(f"fix: {problem.fix}")
    return "; ".join(parts)
