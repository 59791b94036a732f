"""`/v1/schedules`: the alias lookup, immutable schedules, formats and fallbacks."""

import json
import re
from itertools import pairwise

import pytest

from ays_client.contract import Effort, Schedule, Solver, Terminal, identity
from ays_client.stock import stock
from tests.service.worker import SIGMA_MAX, SIGMA_MIN, finish, measured, request, time_of, toy, work


def find(http, *, headers=None, expect=200, **query):
    answer = http.get("/v1/schedules", params={"model": "toy", "nfe": 8} | query, headers=headers)
    assert answer.status_code == expect, answer.text
    return answer


def read(answer):
    json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    return Schedule.model_validate_json(answer.content)


def test_the_alias_is_the_cached_schedule_for_a_while(http, store):
    wanted = measured(store)
    answer = find(http)
    assert read(answer) == wanted
    assert answer.headers["etag"] == f'"{wanted.id}"'
    assert answer.headers["cache-control"].startswith("public, max-age=60, stale-while-revalidate=")


def test_the_solver_left_out_is_the_one_the_answer_names(http, store):
    measured(store)
    assert read(find(http)).solver is Solver.DPMPP_2M


def test_the_alias_moves_on_to_a_better_schedule(http, store):
    old = measured(store)
    tag = find(http).headers["etag"]
    new = measured(store, effort=Effort.MAX)
    answer = find(http, headers={"If-None-Match": tag})
    assert (answer.status_code, read(answer).id) == (200, new.id)
    assert new.id != old.id


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"other", {}', "*"])
def test_a_known_schedule_is_not_sent_again(http, store, condition):
    tag = find_tag(http, store)
    answer = find(http, headers={"If-None-Match": condition.format(tag)}, expect=304)
    assert answer.content == b""
    assert answer.headers["etag"] == tag
    assert "max-age" in answer.headers["cache-control"]


def find_tag(http, store):
    measured(store)
    return find(http).headers["etag"]


def test_another_tag_gets_the_schedule(http, store):
    measured(store)
    find(http, headers={"If-None-Match": '"other"'})


def test_a_schedule_by_its_id_never_changes(http, store):
    wanted = measured(store)
    answer = http.get(f"/v1/schedules/{wanted.id}")
    assert answer.content == store.results.schedule(wanted.id)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "application/json"
    again = http.get(f"/v1/schedules/{wanted.id}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("kind", ["vp", "flow"])
def test_every_format_is_read_by_its_tool(http, store, by_id, kind):
    wanted = measured(store, kind=kind)
    path = f"/v1/schedules/{wanted.id}" if by_id else "/v1/schedules?model=toy&nfe=8"
    model_levels = wanted.t if kind == "flow" else wanted.sigmas

    def get(form):
        answer = http.get(path + ("&" if "?" in path else "?") + f"format={form}")
        assert answer.status_code == 200
        assert answer.headers["etag"] == (f'"{wanted.id}"' if form == "json" else f'"{wanted.id}.{form}"')
        return answer

    assert read(get("json")) == wanted
    assert get("kdiffusion").json() == wanted.sigmas
    assert [float(number) for number in re.findall(r"[-+]?(?:\d*\.*\d+)", get("comfyui").text)] == model_levels
    if kind == "vp":
        assert [float(number) for number in get("sdcpp").text.split(",")] == model_levels
    assert get("comfyui").headers["content-type"].startswith("text/plain")
    diffusers = get("diffusers").json()
    assert diffusers["scheduler"] == "DPMSolverMultistepScheduler"
    assert (len(diffusers["timesteps"]), diffusers["sigmas"]) == (8, model_levels)


def test_what_a_tool_cannot_take_is_not_acceptable(http, store):
    measured(store, kind="edm")
    for query, words in (
        ({"format": "sdnext"}, "no whole number"),
        ({"format": "comfyui", "shift": 3}, "kind is edm, not flow"),
        ({"format": "edm"}, "NVlabs/edm has no sampler that runs dpmpp_2m on a model of kind edm; fix: ask for solver=heun"),
    ):
        assert words in find(http, expect=406, **query).json()["detail"]


def test_flow_levels_before_a_shift_have_a_tag_of_their_own(http, store):
    wanted = measured(store, kind="flow")
    plain, shifted = find(http, format="comfyui"), find(http, format="comfyui", shift=3)
    assert [float(t) for t in shifted.text.split(",")] == pytest.approx([t / (3 - 2 * t) for t in wanted.t])
    assert shifted.headers["etag"] != plain.headers["etag"]
    assert find(http, shift=3).json()["sigmas"] == wanted.sigmas


@pytest.mark.usefixtures("store")
def test_nothing_cached_is_a_problem_with_the_way_to_make_it(http):
    answer = find(http, solver="ddim", expect=404)
    assert answer.headers["link"] == '</v1/jobs>; rel="create"'
    problem = answer.json()
    posted = json.loads(re.search(r"POST (\{.*?\}) to /v1/jobs", problem["fix"]).group(1))
    assert posted == {"model": "toy", "nfe": 8, "solver": "ddim"}
    assert http.post("/v1/jobs", json=posted).json()["id"] == identity(request(solver="ddim"))
    assert "fallback=stock" in problem["fix"]


@pytest.mark.usefixtures("store")
def test_an_unknown_model_is_named_with_those_there_are(http):
    assert find(http, model="tiy", expect=404).json()["expected"].startswith("one of toy, ")


def test_another_variant_is_another_schedule(http, store):
    measured(store)
    for variant in ({"seed": 1}, {"guidance_scale": 3.0}, {"sigma_max": 10.0}, {"paths": 32}):
        find(http, expect=404, **variant)


def test_schedules_of_other_weights_are_not_served(http, store):
    wanted = measured(store)
    store.models.publish([toy(fingerprint="f1")], source="host")
    find(http, expect=404)
    assert http.get(f"/v1/schedules/{wanted.id}").status_code == 200


@pytest.mark.parametrize("fallback", ["nearest", "published", "stock"])
@pytest.mark.parametrize("nfe", [5, 11, 40])
def test_the_nearest_budget_is_interpolated(http, store, fallback, nfe):
    measured(store, nfe=8, table=(6, 8, 20))
    base = {5: 6, 11: 8, 40: 20}[nfe]
    source = read(find(http, nfe=base))
    answer = find(http, nfe=nfe, fallback=fallback)
    schedule = read(answer)
    assert (schedule.source, schedule.validated, schedule.nfe, schedule.steps) == ("interpolated", False, nfe, nfe)
    assert schedule.provenance.interpolated_from == source.id
    assert len(schedule.sigmas) == nfe + 1
    assert (schedule.sigmas[0], schedule.sigmas[-2], schedule.sigmas[-1]) == (SIGMA_MAX, SIGMA_MIN, 0)
    assert all(upper > lower for upper, lower in pairwise(schedule.sigmas))
    assert schedule.timesteps == pytest.approx([time_of(sigma) for sigma in schedule.sigmas[:-1]], abs=25)
    assert schedule.timesteps[0] == pytest.approx(999)
    assert answer.headers["cache-control"].startswith("public, max-age=10,")


def test_interpolated_times_are_those_of_the_densest_schedule(http, store):
    measured(store, nfe=8, table=(64, 8))
    schedule = read(find(http, nfe=12, fallback="nearest"))
    assert schedule.timesteps == pytest.approx([time_of(sigma) for sigma in schedule.sigmas[:-1]], abs=1.5)
    assert schedule.timesteps_int == [round(time) for time in schedule.timesteps]


@pytest.mark.parametrize("fallback", ["nearest", "published"])
@pytest.mark.usefixtures("store")
def test_a_fallback_without_an_answer_says_so(http, fallback):
    problem = find(http, fallback=fallback, expect=404).json()
    assert ("published" if fallback == "published" else "another nfe") in problem["detail"]
    assert "fallback=stock" in problem["fix"]


@pytest.mark.parametrize("terminal", list(Terminal))
@pytest.mark.parametrize("kind", ["ve", "edm", "flow"])
def test_stock_needs_only_the_range_of_the_model(http, store, kind, terminal):
    store.models.publish([toy(kind=kind, fingerprint=None)], source="host")
    schedule = read(find(http, fallback="stock", terminal=terminal.value))
    assert (schedule.source, schedule.provenance.candidate, schedule.validated) == ("stock", "edm", False)
    assert schedule.sigmas == pytest.approx(stock("edm", 8, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, terminal=terminal))
    assert len(schedule.timesteps) == 8
    assert (schedule.t is not None) == (kind == "flow")
    if kind == "flow":
        assert schedule.timesteps == pytest.approx(schedule.t[:-1])


def test_stock_of_heun_has_fewer_steps(http, store):
    store.models.publish([toy(kind="edm")], source="host")
    schedule = read(find(http, fallback="stock", solver="heun", nfe=9))
    assert (schedule.nfe, schedule.steps, len(schedule.sigmas)) == (9, 5, 6)


def test_stock_keeps_to_the_range_that_was_asked_for(http, store):
    store.models.publish([toy(kind="edm")], source="host")
    schedule = read(find(http, fallback="stock", sigma_max=5, sigma_min=0.1))
    assert (schedule.sigmas[0], schedule.sigmas[-2]) == (5, 0.1)
    assert (schedule.sigma_max, schedule.sigma_min) == (5, 0.1)
    find(http, fallback="stock", sigma_min=50, expect=422)


def test_stock_of_a_vp_model_takes_its_times_from_what_is_cached(http, store):
    problem = find(http, fallback="stock", expect=404).json()
    assert "betas" in problem["detail"]
    measured(store, table=(64, 8))
    schedule = read(find(http, fallback="stock", solver="ddim"))
    assert schedule.source == "stock"
    assert schedule.timesteps == pytest.approx([time_of(sigma) for sigma in schedule.sigmas[:-1]], abs=1.5)


def test_stock_of_a_model_that_nobody_has_loaded_says_so(http, store):
    store.models.publish([toy(kind=None, sigma_min=None, sigma_max=None, fingerprint=None)], source="host")
    assert "no worker has loaded" in find(http, fallback="stock", expect=404).json()["detail"]


def test_a_computed_answer_has_a_tag_of_its_content_and_links_that_work(http, store):
    store.models.publish([toy(kind="edm")], source="host")
    answer = find(http, fallback="stock")
    tag = answer.headers["etag"]
    assert find(http, fallback="stock").headers["etag"] == tag
    assert find(http, fallback="stock", nfe=9).headers["etag"] != tag
    find(http, fallback="stock", headers={"If-None-Match": tag}, expect=304)
    schedule = read(answer)
    assert http.get(schedule.formats["kdiffusion"]).json() == schedule.sigmas


def test_a_detail_of_its_own_does_not_become_the_alias(http, store):
    kept = measured(store)
    asked = request(detail=0.5)
    store.jobs.submit(asked)
    finish(store, asked, work(store, asked))
    assert read(find(http)).id == kept.id


def test_one_kind_can_be_asked_for_whatever_is_cached(http, store):
    measured(store)
    assert http.get("/v1/schedules?model=toy&nfe=8").json()["source"] == "optimized"
    alone = http.get("/v1/schedules?model=toy&nfe=8&source=stock").json()
    assert (alone["source"], alone["sigmas"]) == ("stock", stock("edm", 8, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX))
    link = http.get(alone["formats"]["comfyui"]).text
    assert [float(level) for level in link.split(", ")] == alone["sigmas"]
    missing = http.get("/v1/schedules?model=toy&nfe=8&source=published")
    assert (missing.status_code, missing.json()["fix"].split()[0]) == (404, "source=stock")
    published = http.get("/v1/schedules?model=stable-diffusion-1.5&nfe=10&source=published").json()
    assert published["source"] == "published"
