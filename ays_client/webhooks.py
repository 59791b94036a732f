"""Webhooks: what asks for one, and what it brings. The signature is that of Standard Webhooks (https://www.standardwebhooks.com)."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import Job, JobRequest, JobState, Priority

Webhook = Annotated[
    str,
    Field(
        pattern=r"^https?://[!-~]+$",
        max_length=2048,
        description="URL that is told once how the job ends, by a signed POST; where the service has webhooks",
        examples=["https://studio.example.org/ays"],
    ),
]


class JobSubmission(JobRequest):
    """Body of `POST /v1/jobs`: a request, and what is no part of its identity."""

    webhook: Webhook | None = None
    priority: Priority = Field(Priority.INTERACTIVE, description="batch: others may go first")

    @property
    def request(self) -> JobRequest:
        """The request alone: it says which job is meant."""
        return JobRequest(**self.model_dump(include=set(JobRequest.model_fields)))


class Notice(BaseModel):
    """Body of a message: how a job has ended. All tries of a message have the same body and the same header `webhook-id`."""

    model_config = ConfigDict(frozen=True)

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    timestamp: datetime = Field(description="when the job ended")
    data: Job

    @classmethod
    def of(cls, job: Job) -> Self:
        """What there is to say of a job in a final state.

        Raises:
            ValueError: the job has not ended.
        """
        if not job.state.final or job.finished_at is None:
            msg = f"received job {job.id} in state {job.state.value}, expected one that has ended"
            raise ValueError(msg)
        return cls.model_validate(
            {"type": f"job.{JobState(job.state).value}", "timestamp": datetime.fromtimestamp(job.finished_at, UTC), "data": job}
        )

    def body(self) -> bytes:
        """The bytes that are sent; workers that are alive are no part of how a job ended."""
        return self.model_dump_json(exclude={"data": {"live_workers"}}).encode()
