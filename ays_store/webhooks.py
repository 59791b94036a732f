"""Webhooks: who wants to be told of the end of a job, and the messages that have not arrived yet.

A job's end makes its messages in the script that ends it, so there is no end without them, whatever dies. A message waits in a sorted
set of due times. Whoever delivers it claims it first, which moves its time into the future: when that one dies, it comes up again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from ays_client.contract import Job
from ays_store.limits import DELIVERIES_MAX, WEBHOOKS_MAX
from ays_store.records import jobs_from
from ays_store.scripts import Script


class WebhooksFullError(Exception):
    """No more messages are promised: too many wait, or too many are wanted of one job."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message to be delivered, claimed.

    Attributes:
        message: its id; a job that ends gives each URL one, the same for every try.
        url: where it goes.
        job: the job as it ended; None when the record cannot be read.
        job_id: its id.
        attempt: which try this is, from 1.
    """

    message: str
    url: str
    job: Job | None
    job_id: str
    attempt: int


class Webhooks:
    """The messages in Redis; safe to share between threads."""

    def __init__(self, redis: Redis) -> None:
        self._subscribe = Script(redis, "webhooks/subscribe")
        self._claim = Script(redis, "webhooks/claim")
        self._end = Script(redis, "webhooks/end")
        self._postpone = Script(redis, "webhooks/postpone")

    def subscribe(self, job_id: str, url: str) -> bool:
        """Promises a URL one message of how a job ends; at once when it has ended.

        Args:
            job_id: The job.
            url: Where the message goes.

        Returns:
            False when there is no such job.

        Raises:
            WebhooksFullError: If 16 URLs want it already, or 10,000 messages wait for their receivers.
        """
        promised = int(self._subscribe(job_id, url, WEBHOOKS_MAX, DELIVERIES_MAX))
        if promised < 0:
            msg = f"job {job_id}: {WEBHOOKS_MAX} URLs want to be told of its end, or {DELIVERIES_MAX} messages wait for their receivers"
            raise WebhooksFullError(msg)
        return promised == 1

    def claim(self, number: int, *, lease_seconds: float, attempts_max: int) -> Sequence[Delivery]:
        """Takes messages that are due, the one that has waited for longest first.

        Args:
            number: At most so many.
            lease_seconds: They come up again after this time, unless they are ended or postponed before.
            attempts_max: Tries that a message gets; one that has used them up without an end is dropped as failed.
        """
        return [_delivery(*row) for row in self._claim(number, int(lease_seconds * 1e6), attempts_max)]

    def delivered(self, delivery: Delivery) -> bool:
        """Ends a message as delivered; False when somebody else has it by now."""
        return bool(self._end(delivery.message, delivery.attempt, "delivered"))

    def failed(self, delivery: Delivery) -> bool:
        """Ends a message as failed, for good; False when somebody else has it by now."""
        return bool(self._end(delivery.message, delivery.attempt, "failed"))

    def retry(self, delivery: Delivery, *, seconds: float) -> bool:
        """Gives a message back after a try that has failed, due again in so many seconds; False when somebody else has it by now."""
        return bool(self._postpone(delivery.message, delivery.attempt, int(seconds * 1e6), 0))

    def give_back(self, delivery: Delivery, *, seconds: float) -> bool:
        """The same without a try: it does not count."""
        return bool(self._postpone(delivery.message, delivery.attempt, int(seconds * 1e6), 1))


def _delivery(message: bytes, job_id: bytes, url: bytes, record: bytes, attempt: int) -> Delivery:
    words = [raw.decode("utf-8", "replace") for raw in (message, url, job_id)]
    return Delivery(message=words[0], url=words[1], job=_job(job_id, record), job_id=words[2], attempt=attempt)


def _job(job_id: bytes, record: bytes) -> Job | None:
    try:
        fields = json.loads(record)
    except ValueError:
        return None
    if not isinstance(fields, list):
        return None
    found = jobs_from([0, 0, [job_id, *(str(part).encode() for part in fields)]])
    return found[0] if found else None
