"""The catalogue: published schedules are served from the first start, and say what they are."""

from itertools import pairwise

import pytest

from ays_client.contract import Schedule
from ays_client.published import PUBLISHED
from tests.service.worker import measured, toy

XL = PUBLISHED["stable-diffusion-xl"]
OFFERED = {"sigma_min": XL.levels[-1], "sigma_max": XL.levels[0], "published": "stable-diffusion-xl"}


def find(http, *, expect=200, **query):
    answer = http.get("/v1/schedules", params={"model": "stable-diffusion-xl", "nfe": 10} | query)
    assert answer.status_code == expect, answer.text
    return Schedule.model_validate_json(answer.content) if expect == 200 else answer.json()


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("fallback", ["none", "published", "stock"])
def test_a_published_schedule_is_served_before_any_worker_has_run(http, fallback):
    schedule = find(http, fallback=fallback)
    assert (schedule.source, schedule.validated, schedule.fingerprint) == ("published", False, "")
    assert schedule.timesteps_int == [999, 845, 730, 587, 443, 310, 193, 116, 53, 13]
    assert schedule.timesteps == schedule.timesteps_int
    assert schedule.sigmas == [*XL.levels[:-1], 0.0]
    assert (schedule.provenance.candidate, schedule.provenance.interpolated_from) == ("align_your_steps", None)


@pytest.mark.usefixtures("redis")
def test_the_other_reading_stops_at_the_last_published_level(http):
    assert find(http, terminal="sigma_min").sigmas == XL.levels


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("query", [{"nfe": 4}, {"nfe": 32}, {"nfe": 9, "solver": "heun"}])
def test_another_number_of_steps_is_interpolated_and_says_so(http, query):
    schedule = find(http, **query)
    assert (schedule.source, schedule.validated) == ("interpolated", False)
    assert schedule.provenance.interpolated_from == "stable-diffusion-xl"
    assert len(schedule.sigmas) == schedule.steps + 1
    assert all(upper > lower for upper, lower in pairwise(schedule.sigmas))
    assert (schedule.timesteps[0], schedule.sigmas[-1]) == (999, 0)


@pytest.mark.usefixtures("redis")
def test_heun_with_ten_steps_is_the_published_table(http):
    assert find(http, nfe=19, solver="heun").source == "published"


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("model", PUBLISHED)
@pytest.mark.parametrize("form", ["diffusers", "kdiffusion", "comfyui", "sdcpp", "edm"])
def test_every_table_is_served_in_every_format(http, model, form):
    solver = "heun" if form == "edm" else "dpmpp_2m"
    link = find(http, model=model, solver=solver, nfe=19 if form == "edm" else 10).formats[form]
    assert http.get(link).status_code == 200


def test_the_list_of_models_has_those_of_workers_first(http, store):
    store.models.publish([toy(), toy(id="stable-diffusion-xl", title="Mine", **OFFERED)], source="host")
    models = http.get("/v1/models").json()["models"]
    ids = [model["id"] for model in models]
    assert ids == ["stable-diffusion-xl", "toy", "deepfloyd-if", "stable-diffusion-1.5", "stable-video-diffusion"]
    assert models[0]["title"] == "Mine"


@pytest.mark.usefixtures("redis")
def test_a_model_of_the_catalogue_can_be_looked_at(http):
    model = http.get("/v1/models/deepfloyd-if").json()
    assert (model["kind"], model["published"], model["profile_state"]) == ("vp", "deepfloyd-if", "none")
    assert model["sigma_max"] == pytest.approx(160.41, rel=1e-3)


@pytest.mark.usefixtures("redis")
def test_nobody_can_measure_weights_that_no_worker_has(http):
    answer = http.post("/v1/jobs", json={"model": "stable-diffusion-xl", "nfe": 8})
    assert answer.status_code == 404
    problem = answer.json()
    assert problem["detail"] == "no worker offers the model stable-diffusion-xl; only its published schedule is known"
    assert "/v1/schedules?model=stable-diffusion-xl" in problem["fix"]


@pytest.mark.usefixtures("redis")
def test_a_range_of_its_own_has_no_published_schedule(http):
    assert "no published schedule" in find(http, sigma_max=5, fallback="published", expect=404)["detail"]


def test_a_misspelt_model_is_pointed_to_the_catalogue(http, store):
    store.models.publish([], source="host")
    assert find(http, model="stable-difusion-xl", expect=404)["fix"] == "use stable-diffusion-xl"
    refused = http.post("/v1/jobs", json={"model": "stable-difusion-xl", "nfe": 8}).json()
    assert "no worker has announced any model yet" in refused["detail"]


@pytest.mark.parametrize("known", [True, False])
def test_a_model_of_a_worker_is_served_by_the_table_it_names(http, store, known):
    facts = OFFERED if known else {"published": "stable-diffusion-xl", "kind": None, "sigma_min": None, "sigma_max": None}
    store.models.publish([toy(guidance_scale=7.5, **facts)], source="host")
    find(http, model="toy", expect=404)
    find(http, model="toy", fallback="nearest", expect=404)
    schedule = find(http, model="toy", fallback="published")
    assert (schedule.source, schedule.model, schedule.fingerprint, schedule.guidance_scale) == ("published", "toy", "f0", 7.5)
    assert schedule.sigmas == [*XL.levels[:-1], 0.0]


def test_what_was_measured_comes_before_what_was_published(http, store):
    store.models.publish([toy(**OFFERED)], source="host")
    measured(store, nfe=8, table=(6, 8))
    assert find(http, model="toy", nfe=8, fallback="published").source == "optimized"
    assert find(http, model="toy", nfe=10, fallback="published").provenance.candidate != "align_your_steps"


@pytest.mark.parametrize("other", [{"sigma_max": 4096.0}, {"kind": "edm"}])
def test_a_table_for_another_range_or_kind_is_not_served(http, store, other):
    store.models.publish([toy(**OFFERED | other)], source="host")
    find(http, model="toy", fallback="published", expect=404)
