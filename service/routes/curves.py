"""`POST /v1/curves`: schedules from a denoising-loss curve; weights stay where they are."""

from fastapi import APIRouter, Response

from ays_client.contract import Job
from ays_client.curve import CurveRequest
from service.deps import AdmissionDep, SettingsDep, StoreDep
from service.problems import declared
from service.routes.jobs import accepted, check
from service.schedules.model_lookup import model_of_curve
from service.webhooks.promises import checked

router = APIRouter(tags=["curves"])


@router.post("/v1/curves", status_code=202, responses=declared(400, 413, 415), summary="Ask for the schedules of a loss curve")
def submit_curve(body: CurveRequest, response: Response, store: StoreDep, admission: AdmissionDep, settings: SettingsDep) -> Job:
    """Queue the computation of all first-order schedules of a denoising-loss curve; takes a worker a few seconds, no model and no GPU.

    The answer is a job like any other. Its `request.model` is the id of the curve, under which `/v1/schedules` serves every `nfe` for
    the solvers of first order: `sddim` (`ddpm`, `euler_ancestral`), `ddim` and `euler`.
    """
    webhook = checked(body.webhook, settings)
    check(body.request, model_of_curve(body.curve.rising()))
    # Kept with the job: a curve whose job is refused takes no memory.
    return accepted(admission.take(body.request, body.priority, curve=body.curve), webhook, response, store)
