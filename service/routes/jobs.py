"""`/v1/jobs`: ask for a schedule, see how far it is, stop it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import Job, JobRequest, JobState, Model, ModelId
from ays_client.pages import JobPage
from ays_client.webhooks import JobSubmission
from ays_store import Store
from ays_store.jobs import NotAskedError
from service.deps import AdmissionDep, CallerDep, SettingsDep, StoreDep
from service.problems import ProblemError, declared
from service.schedules.model_lookup import offered_model
from service.webhooks.promises import checked, promise

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_SECONDS = 1
"""What `Retry-After` says while a job is not final."""

_TOLERANCE = 1e-9


class JobQuery(BaseModel):
    """Query of the list of jobs."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = Field(None, description="only jobs in this state")
    model: ModelId | None = Field(None, description="only jobs of this model")
    cursor: str | None = Field(None, max_length=32, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=200, description="jobs in a page")


@router.post("", status_code=202, responses=declared(400, 404, 413, 415), summary="Ask for a schedule")
def submit_job(body: JobSubmission, response: Response, store: StoreDep, admission: AdmissionDep, settings: SettingsDep) -> Job:
    """Queue the optimization of a schedule.

    The job's id is the hash of the request: the same request is the same job, whoever sends it and however often. The answer
    is always 202 with the job as it is: `succeeded`, with a link to the schedule, when that is known already. `webhook` names a URL
    that is told once how the job ends. `priority: batch` lets others go first.
    """
    webhook = checked(body.webhook, settings)
    check(body.request, offered_model(store, body.request.model))
    return accepted(admission.take(body.request, body.priority), webhook, response, store)


def accepted(job: Job, webhook: str | None, response: Response, store: Store) -> Job:
    """The answer to a submission that was taken.

    Args:
        job: its job.
        webhook: a URL that wants to be told of its end, checked.
        response: gets the headers.
        store: where the webhook is promised.
    """
    if webhook is not None:
        promise(store, job.id, webhook)
    response.headers["location"] = f"/v1/jobs/{job.id}"
    response.headers["retry-after"] = "0" if job.state.final else str(POLL_SECONDS)
    response.headers["cache-control"] = "no-store"
    return job


@router.get("", responses=declared(), summary="List jobs")
def list_jobs(query: Annotated[JobQuery, Query()], response: Response, store: StoreDep, caller: CallerDep) -> JobPage:
    """Jobs, the newest first, a page at a time: those that this API key has asked for; with scope `admin`, everybody's."""
    try:
        jobs, following = store.jobs.list(query.state, query.model, owner=caller.sees_only, cursor=query.cursor, limit=query.limit)
    except ValueError as error:
        raise ProblemError(
            422, str(error), received=query.cursor, expected="`next_cursor` of the page before", fix="leave cursor out"
        ) from error
    response.headers["cache-control"] = "no-store"
    return JobPage(jobs=jobs, next_cursor=following)


@router.get("/{job_id}", responses=declared(404), summary="See a job")
def get_job(job_id: str, response: Response, store: StoreDep) -> Job:
    """The job as it is now; `Retry-After` says when to ask again, as long as it is not final."""
    job = store.jobs.get(job_id)
    if job is None:
        raise no_job(job_id)
    return _shown(job, response)


@router.post("/{job_id}/cancel", responses=declared(404, 413), summary="Stop a job")
def cancel_job(job_id: str, response: Response, store: StoreDep, caller: CallerDep) -> Job:
    """Withdraw from a job. It stops when nobody is left who has asked for it: at once while queued, else as soon as its worker notices.

    Only an API key that has asked for the job can; one of scope `admin` stops it for everybody. A job that has ended stays as it is.
    """
    try:
        job = store.jobs.cancel(job_id, owner=caller.sees_only)
    except NotAskedError as error:
        raise ProblemError(
            403,
            "this API key has not asked for this job",
            received=job_id,
            expected="a job that this key has submitted, or a key of scope admin",
            fix="leave it to those who have asked for it, or ask the operator",
        ) from error
    if job is None:
        raise no_job(job_id)
    return _shown(job, response)


def _shown(job: Job, response: Response) -> Job:
    response.headers["cache-control"] = "no-store"
    if not job.state.final:
        response.headers["retry-after"] = str(POLL_SECONDS)
    return job


def no_job(job_id: str) -> ProblemError:
    """There is no such job."""
    return ProblemError(
        404,
        "there is no such job; records of ended jobs are dropped after a month",
        received=job_id,
        expected="the id of a job",
        fix="POST the request to /v1/jobs again: the same request gets the same id",
    )


def check(request: JobRequest, model: Model) -> None:
    """Refuse what this model cannot do, as far as it is known before a worker has loaded it.

    Raises:
        ProblemError: 422.
    """
    if request.guidance_scale is not None and model.kind is not None and model.guidance_scale is None:
        raise ProblemError(
            422,
            f"the model {model.id} takes no guidance",
            received={"guidance_scale": request.guidance_scale},
            expected="no guidance_scale",
            fix="leave guidance_scale out",
        )
    if model.sigma_min is None or model.sigma_max is None:
        return
    low, high = model.sigma_min * (1 - _TOLERANCE), model.sigma_max * (1 + _TOLERANCE)
    given = {"sigma_min": request.sigma_min, "sigma_max": request.sigma_max}
    wrong = {name: sigma for name, sigma in given.items() if sigma is not None and not low <= sigma <= high}
    bottom = model.sigma_min if request.sigma_min is None else request.sigma_min
    top = model.sigma_max if request.sigma_max is None else request.sigma_max
    if wrong or bottom >= top:
        raise ProblemError(
            422,
            f"the range of noise levels is not one that the model {model.id} knows",
            received={name: sigma for name, sigma in given.items() if sigma is not None},
            expected=f"{model.sigma_min:g} <= sigma_min < sigma_max <= {model.sigma_max:g}",
            fix=f"change {' and '.join(wrong or given)}, or leave sigma_min and sigma_max out",
        )
