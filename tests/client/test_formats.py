"""Every format is read back by the rule of the tool that takes it."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ays_client.contract import Schedule, Solver
from ays_client.formats import Format, comfyui, diffusers, fixed_point, links, render, sdcpp
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
    one = schedule(kind=kind)
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
    answer = diffusers(one)
    assert answer["scheduler"].endswith("Scheduler")
    assert len(answer["timesteps"]) == one.steps
    assert len(answer["sigmas"]) == one.steps + 1
    if kind == "flow":
        assert answer["timesteps"] == pytest.approx([1000 * t for t in one.t[:-1]])
        assert answer["sigmas"] == one.t
    else:
        assert answer["timesteps"] == one.timesteps
        assert answer["sigmas"] == one.sigmas


def test_json_is_the_schedule():
    one = schedule()
    assert Schedule.model_validate_json(render(one, Format.JSON)) == one


def test_links_keep_a_query():
    assert links("/v1/schedules/x")["comfyui"] == "/v1/schedules/x?format=comfyui"
    assert links("/v1/schedules?nfe=8")["edm"] == "/v1/schedules?nfe=8&format=edm"
    assert "json" not in links("/")
