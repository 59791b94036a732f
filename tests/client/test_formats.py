"""Every format is read back by the rule of the tool that takes it."""

import json
import re
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ays_client.consumers import runs_solver, takes
from ays_client.contract import Schedule, Solver
from ays_client.errors import ScheduleRefused
from ays_client.formats import Format, comfyui, diffusers, fixed_point, links, render, sdcpp
from ays_client.solvers import CARDS
from ays_client.webuis import before_shift, sdnext, separate
from tests.client.schedules import schedule

KINDS = ("vp", "ve", "edm", "flow")
COMFYUI_NUMBER = re.compile(r"[-+]?(?:\d*\.*\d+)")


@pytest.mark.parametrize("kind", KINDS)
def test_comfyui_reads_the_same_floats(kind):
    one = schedule(kind=kind)
    expected = one.t if kind == "flow" else one.sigmas
    assert [float(number) for number in COMFYUI_NUMBER.findall(comfyui(one))] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_sdcpp_reads_the_same_floats(kind):
    one = schedule(kind=kind)
    expected = one.t if kind == "flow" else one.sigmas
    assert [float(number) for number in sdcpp(one).split(",")] == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [Format.KDIFFUSION, Format.EDM])
def test_lists_hold_all_levels(kind, form):
    one = schedule(kind=kind, solver=Solver.HEUN)
    assert json.loads(render(one, form)) == one.sigmas


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
def test_fixed_point_is_exact_and_has_no_exponent(level):
    text = fixed_point(level)
    assert float(text) == level
    assert re.fullmatch(r"\d+\.\d+", text)
    assert [float(number) for number in COMFYUI_NUMBER.findall(text)] == [level]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", list(Solver))
def test_diffusers_names_a_scheduler_and_one_time_for_each_evaluated_level(kind, solver):
    one = schedule(kind=kind, solver=solver)
    if kind not in CARDS[solver].schedulers:
        with pytest.raises(ScheduleRefused, match="format diffusers is refused"):
            render(one, Format.DIFFUSERS)
        return
    answer = json.loads(render(one, Format.DIFFUSERS))
    assert answer["scheduler"].endswith("Scheduler")
    assert len(answer["timesteps"]) == one.steps
    assert len(answer["sigmas"]) == one.steps + 1
    if kind == "flow":
        assert answer["timesteps"] == pytest.approx([1000 * t for t in one.t[:-1]])
        assert answer["sigmas"] == pytest.approx(one.t, abs=1e-6)
    else:
        assert answer["timesteps"] == one.timesteps
        assert answer["sigmas"] == pytest.approx(one.sigmas, abs=1e-6)
    assert (answer["sigmas"][-1] > 0) == (solver is Solver.DEIS), "diffusers' DEIS divides by the logarithm of the last level"


def fitted(kind="vp"):
    return schedule(kind=kind, solver=Solver.FITTED, weights=[[1.0], [1.5, -0.5], [0.5, 0.25, 0.25], [1.0, 0.5, -0.25, -0.25]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [form for form in Format if form is not Format.JSON])
def test_formats_without_weights_refuse_a_fitted_schedule(kind, form):
    with pytest.raises(ScheduleRefused, match=f"format {form.value} is refused: it carries levels alone") as refused:
        render(fitted(kind), form)
    solver = re.search(r"ask for solver=(\w+)", str(refused.value))
    if solver:
        assert runs_solver(form, Solver(solver[1]), kind)
    assert links("/", fitted(kind)) == {}
    assert Schedule.model_validate_json(render(fitted(kind), Format.JSON)).weights == fitted(kind).weights


class OlderSchedule(Schedule):
    """The body as clients knew it before there were weights."""

    weights: ClassVar[None] = None


def test_an_older_client_refuses_a_fitted_schedule():
    """It knows neither the solver nor the weights, and its bodies take no field that they do not know."""
    body = fitted().model_dump(mode="json")
    assert "weights" not in OlderSchedule.model_fields
    with pytest.raises(ValidationError, match="weights\n  Extra inputs are not permitted"):
        OlderSchedule.model_validate(body)
    # Nor one that drops what it does not know: the solver is none of its own.
    with pytest.raises(ValidationError, match="Input should be 'euler'"):
        TypeAdapter(Literal[tuple(solver.value for solver in Solver if solver is not Solver.FITTED)]).validate_python(body["solver"])


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_answers_what_its_tool_runs_and_refuses_the_rest_with_a_way_out(form, kind):
    answered = {solver for solver in Solver if solver is not Solver.FITTED and answers(schedule(kind=kind, solver=solver), form)}
    unfit = {(Format.A1111, "flow"), (Format.SDNEXT, "edm"), (Format.SDNEXT, "ve")}
    assert bool(answered) == ((form, kind) not in unfit)
    if form in {Format.COMFYUI, Format.COMFYUI_API}:
        assert {Solver.UNIPC, Solver.DEIS} & answered == set()
        assert (Solver.HEUN in answered) == (kind != "flow")
    if form is Format.EDM:
        assert answered == {Solver.EULER, Solver.DDIM, Solver.HEUN}


def answers(one, form):
    if takes(one, form) and (form, one.kind) not in {(Format.SDNEXT, "edm"), (Format.SDNEXT, "ve")}:
        return bool(render(one, form))
    with pytest.raises(ScheduleRefused, match="; fix: "):
        render(one, form)
    return False


@pytest.mark.parametrize("form", [Format.KDIFFUSION, Format.COMFYUI, Format.EDM, Format.SDCPP, Format.A1111])
def test_heun_ends_at_a_positive_level_with_one_more_evaluation_elsewhere(form):
    with pytest.raises(ScheduleRefused, match="with one more evaluation; fix: ask for terminal=zero"):
        render(schedule(solver=Solver.HEUN, sigmas=(14.0, 3.0, 0.7, 0.1)), form)


def test_json_is_the_schedule():
    one = schedule()
    assert Schedule.model_validate_json(render(one, Format.JSON)) == one


def test_links_keep_a_query():
    one = schedule(solver=Solver.HEUN)
    assert links("/v1/schedules/x", one)["comfyui"] == "/v1/schedules/x?format=comfyui"
    assert links("/v1/schedules?nfe=8", one)["edm"] == "/v1/schedules?nfe=8&format=edm"
    assert "json" not in links("/", one)


def test_the_api_graph_holds_what_the_node_reads():
    node = json.loads(render(schedule(), Format.COMFYUI_API))
    assert node["class_type"] == "ManualSigmas"
    assert [float(number) for number in COMFYUI_NUMBER.findall(node["inputs"]["sigmas"])] == schedule().sigmas


def sdnext_reads(text):
    """SD.Next's rule: split at commas and blanks, keep what is all digits."""
    return [int(word) for word in text.replace(",", " ").split() if word.isdigit()]


@pytest.mark.parametrize("kind", ["vp", "flow"])
def test_sdnext_reads_as_many_whole_timesteps_as_there_are_steps(kind):
    one = schedule(
        kind=kind, sigmas=(14.6, 14.59, 3.5, 0.7, 0.0), timesteps=[999.0, 998.9, 300.5, 2.0] if kind == "vp" else [0.94, 0.9399, 0.7, 0.4]
    )
    assert sdnext_reads(sdnext(one)) == ([999, 998, 300, 2] if kind == "vp" else [940, 939, 700, 400])


@pytest.mark.parametrize("kind", ["edm", "ve"])
def test_sdnext_has_no_whole_timesteps_of_other_kinds(kind):
    with pytest.raises(ScheduleRefused, match=f"kind {kind}"):
        render(schedule(kind=kind), Format.SDNEXT)


@given(st.lists(st.floats(min_value=0, max_value=999), min_size=1, max_size=64))
def test_separated_times_decrease_and_stay_near(times):
    times = sorted(times, reverse=True)
    whole = separate(times)
    assert all(upper > lower for upper, lower in pairwise(whole))
    assert whole[-1] >= 0
    assert max(abs(mine - time) for mine, time in zip(whole, times, strict=True)) <= len(times)
    if len({round(time) for time in times}) == len(times):
        assert whole == [round(time) for time in times]


class Scheduler(NamedTuple):
    """Of the web UI's modules/sd_schedulers.py, as far as a script uses it."""

    name: str
    label: str
    function: Any


@pytest.fixture
def web_ui(monkeypatch):
    """Stands in for the web UI: the modules that a script imports, and the way it asks a scheduler for its levels."""
    known = SimpleNamespace(Scheduler=Scheduler, schedulers=[], schedulers_map={})
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(sd_schedulers=known))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(FloatTensor=lambda levels: SimpleNamespace(to=lambda _device: levels)))
    return known


@pytest.mark.parametrize("end", [(0.0,), ()])
def test_the_web_ui_gets_exactly_the_levels_for_these_steps(web_ui, end):
    one = schedule(sigmas=(14.6146, 3.5, 0.7, 1e-05, *end))
    web_ui.schedulers.append(Scheduler("karras", "Karras", None))
    for _ in range(2):  # as when its scripts are reloaded
        exec(compile(render(one, Format.A1111), "script", "exec"), {})
    assert web_ui.schedulers.pop(0).name == "karras"
    (scheduler,) = web_ui.schedulers
    assert web_ui.schedulers_map[scheduler.label] is web_ui.schedulers_map[scheduler.name] is scheduler
    assert scheduler.function(n=one.steps, sigma_min=0.03, sigma_max=14.6, device="cpu") == one.sigmas
    for steps in (1, 2, 9):
        other = scheduler.function(steps, 0.03, 14.6, "cpu")
        assert len(other) == steps + 1
        assert all(upper > lower for upper, lower in pairwise(other))
        assert other[-1] == pytest.approx(one.sigmas[-1])


def test_the_web_ui_shifts_flow_models_itself():
    with pytest.raises(ScheduleRefused, match="format a1111 is refused"):
        render(schedule(kind="flow"), Format.A1111)


@given(st.floats(min_value=0.1, max_value=20))
def test_a_shift_brings_back_what_was_there_before_it(shift):
    one = schedule(kind="flow")
    before = before_shift(one, shift)
    assert [shift * t / (1 + (shift - 1) * t) for t in before.t] == pytest.approx(one.t, rel=1e-9)
    assert before.sigmas == one.sigmas
    assert [float(t) for t in sdcpp(before).split(",")] == before.t
    assert diffusers(before)["sigmas"] == before.t


def test_other_kinds_have_no_shift():
    with pytest.raises(ScheduleRefused, match="kind is vp, not flow; fix: leave the shift out"):
        render(schedule(), Format.COMFYUI, shift=3.0)
