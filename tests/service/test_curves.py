"""`POST /v1/curves`: a curve becomes a job, and its id is looked up like a model."""

import pytest

from ays_client.contract import Job, Schedule, Solver
from ays_client.curve import CurveRequest
from tests.service.worker import schedule, work
from tests.store.addresses import addressed

SIGMA = [0.03 * 1.7**i for i in range(12)]
LOSS = [s**2 / (1 + s**2) for s in SIGMA]
BODY = {"sigma": SIGMA, "loss": LOSS, "nfe": 8}


def post(http, expect=202, **changes):
    answer = http.post("/v1/curves", json=BODY | changes)
    assert answer.status_code == expect, answer.text
    return answer


def finish(store, job, *, solver=Solver.SDDIM, nfe=8):
    """End the job of a curve as a worker does."""
    token = work(store, job.request)
    made = schedule(nfe=nfe, solver=solver, effort=job.request.effort)
    wanted = addressed(made, model=job.request.model, fingerprint=job.request.model)
    others = [addressed(schedule(nfe=n, solver=solver), model=job.request.model) for n in (4, 12)]
    assert store.results.commit(job.id, token, profile=None, schedules=[wanted, *others], requested_schedule_id=wanted.id)
    return wanted


@pytest.mark.usefixtures("store")
def test_the_same_curve_is_the_same_job_and_has_a_card(http):
    answer = post(http)
    job = Job.model_validate(answer.json())
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert job.request == CurveRequest(**BODY).request
    assert post(http, sigma=SIGMA[::-1], loss=LOSS[::-1]).json()["id"] == job.id
    card = http.get(f"/v1/models/{job.request.model}").json()
    assert (card["kind"], card["sigma_min"], card["sigma_max"]) == ("ve", SIGMA[0], SIGMA[-1])
    assert job.request.model not in {model["id"] for model in http.get("/v1/models").json()["models"]}


def test_its_schedules_are_served_like_those_of_a_model(http, store):
    job = Job.model_validate(post(http).json())
    wanted = finish(store, job)
    query = {"model": job.request.model, "nfe": 8, "solver": "sddim"}
    assert Schedule.model_validate(http.get("/v1/schedules", params=query).json()) == wanted
    assert http.get("/v1/schedules", params=query | {"format": "comfyui"}).status_code == 200
    assert post(http).json()["state"] == "succeeded"
    other = http.post("/v1/jobs", json={"model": job.request.model, "nfe": 12, "solver": "sddim"})
    assert other.json()["state"] == "succeeded", "no effort could say more of a curve"
    near = http.get("/v1/schedules", params=query | {"nfe": 20, "fallback": "nearest"}).json()
    assert near["source"] == "interpolated"
    assert http.get("/v1/schedules", params=query | {"method": "entropic"}).status_code == 404


@pytest.mark.usefixtures("store")
def test_what_a_curve_does_not_tell_is_refused(http):
    model = post(http).json()["request"]["model"]
    for query in ({"nfe": 8}, {"nfe": 8, "solver": "sddim", "method": "paper"}):
        problem = http.get("/v1/schedules", params={"model": model} | query)
        assert problem.status_code == 422
        assert "ask for" in problem.json()["fix"]
    job = http.post("/v1/jobs", json={"model": model, "nfe": 8, "solver": "sddim", "sigma_max": 1e4})
    assert (job.status_code, job.json()["fix"]) == (422, "change sigma_max, or leave sigma_min and sigma_max out")


@pytest.mark.usefixtures("store")
def test_a_curve_that_is_not_kept_is_asked_for_again(http):
    problem = http.post("/v1/jobs", json={"model": "curve-1", "nfe": 8, "solver": "sddim"})
    assert problem.status_code == 404
    assert problem.json()["fix"].startswith("POST the curve to /v1/curves")


@pytest.mark.usefixtures("store")
def test_a_bad_curve_is_a_problem_that_names_the_mistake(http):
    problem = post(http, 422, sigma=[s**-2 for s in SIGMA]).json()
    assert problem["detail"].startswith("body: the loss falls from")
    assert problem["fix"].startswith("send sigma = SNR^-0.5")
    assert problem["expected"].endswith(problem["fix"])
    assert "expected" in post(http, 422, losses=LOSS).json()
    assert post(http, 422, nfe=1).json()["fix"] == "change nfe"
