"""`POST /v1/curves`: schedules from a denoising-loss curve; weights stay where they are."""

from fastapi import APIRouter, Response

from ays_client.contract import Job
from ays_client.curve import CurveRequest
from ays_client.webhooks import JobSubmission
from service.deps import AdmissionDep, SettingsDep, StoreDep
from service.problems import declared
from service.routes.jobs import submit_job

router = APIRouter(tags=["curves"])


@router.post("/v1/curves", status_code=202, responses=declared(400, 413, 415), summary="Ask for the schedules of a loss curve")
def submit_curve(body: CurveRequest, response: Response, store: StoreDep, admission: AdmissionDep, settings: SettingsDep) -> Job:
    """Queue the computation of all first-order schedules of a denoising-loss curve; takes a worker a few seconds, no model and no GPU.

    The answer is a job like any other. Its `request.model` is the id of the curve, under which `/v1/schedules` serves every `nfe` for
    the solvers of first order: `sddim` (`ddpm`, `euler_ancestral`), `ddim` and `euler`.
    """
    store.results.keep_curve(body.curve)
    submission = JobSubmission(**dict(body.request), webhook=body.webhook, priority=body.priority)
    return submit_job(submission, response, store, admission, settings)
