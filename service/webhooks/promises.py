"""What a request for a webhook is answered with, before there is anything to deliver."""

import httpx2

from ays_store import Store
from ays_store.webhooks import WebhooksFullError
from service.problems import ProblemError
from service.settings import Settings

_RETRY_SECONDS = 60
"""What `Retry-After` says while too many messages wait."""


def checked(webhook: str | None, settings: Settings) -> str | None:
    """The URL as it is stored; None where none is wanted.

    Args:
        webhook: what was asked for.
        settings: say whether there are webhooks, and where they may go.

    Raises:
        ProblemError: 422, messages cannot go there.
    """
    if webhook is None:
        return None
    if not settings.webhook_secret:
        raise ProblemError(
            422,
            "this service has no webhooks",
            received={"webhook": "a URL"},
            expected="no webhook",
            fix="leave webhook out, and follow the job's events or poll it; operators: AYS_WEBHOOK_SECRET turns webhooks on",
        )
    mistake = settings.webhook_reach.mistake(webhook)
    if mistake is not None:
        raise ProblemError(422, mistake.detail, received={"webhook": mistake.received}, expected=mistake.expected, fix=mistake.fix)
    return str(httpx2.URL(webhook).copy_with(fragment=None))


def promise(store: Store, job_id: str, webhook: str) -> None:
    """Promise a URL one message of how a job ends.

    Args:
        store: where it is kept.
        job_id: the job.
        webhook: a URL that was checked.

    Raises:
        ProblemError: 503, too many are promised.
    """
    try:
        store.webhooks.subscribe(job_id, webhook)
    except WebhooksFullError as error:
        raise ProblemError(
            503,
            f"the job is accepted, its webhook is not: {error}",
            fix=f"send the request again in {_RETRY_SECONDS} s, it is the same job; or follow its events",
            headers={"retry-after": str(_RETRY_SECONDS)},
        ) from error
