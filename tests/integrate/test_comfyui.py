"""The ComfyUI node: levels and the sampler that they are made for, on the right kind of model or not at all."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch

from ays_client.comfyui import check_model, guidance_of, sampler_function, sampler_name, solvers
from ays_client.consumers import Format, runs_solver
from ays_client.contract import Solver
from ays_client.errors import ScheduleRefused
from tests.cli.commands import REPOSITORY
from tests.client.hostile import Hostile
from tests.integrate import comfy, digits
from tests.integrate.fitted import naive, random_weights
from tests.integrate.problems import denoise, schedule

NOISE = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def service():
    with Hostile() as opened:
        opened.body = digits.schedule().model_dump_json().encode()
        yield opened


@pytest.fixture
def node(service, monkeypatch, tmp_path):
    for name, module in comfy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("AYS_URL", service.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = importlib.util.spec_from_file_location("example_comfyui_node", REPOSITORY / "examples" / "comfyui_node.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (node,) = module.NODE_CLASS_MAPPINGS.values()
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == set(module.NODE_CLASS_MAPPINGS)
    return node


def inputs(node, **changes):
    """Defaults from INPUT_TYPES, as ComfyUI fills them in."""
    required = node.INPUT_TYPES()["required"]
    filled = {name: options[0]["default"] for name, (_, *options) in required.items() if options}
    assert filled["solver"] in required["solver"][0]
    return filled | {"service_model": "digits"} | changes


def queue(node, sampling=None, **changes):
    results = getattr(node(), node.FUNCTION)(**inputs(node, **changes), model=comfy.Model(sampling or comfy.EPS()))
    assert len(results) == len(node.RETURN_TYPES) == 2
    return results


def changed(node, **changes):
    return node.IS_CHANGED(**inputs(node, **changes), model=None)


def fitted(kind):
    return schedule(kind=kind, model="digits", solver=Solver.FITTED, weights=random_weights(8))


class Digits(comfy.EPS):
    sigma_max = torch.tensor(50.0)


def test_levels_and_the_sampler_of_their_solver(node):
    sigmas, sampler = queue(node, Digits())
    assert torch.equal(sigmas, torch.FloatTensor([*digits.LEVELS, 0.0]))
    assert sampler == ("dpmpp_2m", {})
    # As in ComfyUI's own schedulers, denoise keeps the last steps.
    assert torch.equal(queue(node, Digits(), denoise=0.5)[0], sigmas[-5:])
    assert len(queue(node, Digits(), denoise=0.0)[0]) == 0


def test_a_queue_that_changes_nothing_is_not_sampled_again(node):
    first = changed(node)
    assert first == changed(node) == digits.schedule().id
    assert changed(node, steps=5) is None, "the service has no such schedule"


def test_without_an_answer_it_raises_unless_told_otherwise(node):
    with pytest.raises(RuntimeError, match="no schedule of digits, 5 steps, dpmpp_2m; optimize it, or set without_answer to normal"):
        queue(node, steps=5)
    with pytest.raises(RuntimeError, match="40 steps, heun"):
        queue(node, steps=40, solver="heun")
    sigmas, sampler = queue(node, steps=5, solver="fitted", without_answer="normal")
    assert torch.equal(sigmas, torch.linspace(9, 0, 6))
    assert sampler == ("dpmpp_2m", {})
    assert queue(node, comfy.CONST(), steps=5, without_answer="normal")[1] == ("dpmpp_2m_sde", {"eta": 0.0, "solver_type": "midpoint"})


@pytest.mark.parametrize(
    ("kind", "sampling", "message"),
    [
        ("vp", comfy.CONST(), "received one for a model of kind vp, expected flow; fix: name in service_model"),
        ("flow", comfy.EPS(), "received one for a model of kind flow, expected vp, ve or edm"),
        ("edm", comfy.EPS(), "received the highest noise level 700, expected at most 14.6"),
    ],
)
def test_a_schedule_of_another_kind_of_model_is_refused(node, service, kind, sampling, message):
    levels = (700.0, 30.0, 9.0, 4.0, 2.0, 1.0, 0.5, 0.1) if kind == "edm" else digits.LEVELS
    service.body = schedule(kind=kind, model="digits", levels=levels).model_dump_json().encode()
    with pytest.raises(ScheduleRefused, match=message):
        queue(node, sampling)


@pytest.mark.parametrize(("kind", "sampling"), [("vp", comfy.EPS()), ("vp", comfy.V()), ("flow", comfy.CONST())])
@pytest.mark.parametrize("denoise_share", [1.0, 0.5, 0.25])
def test_a_fitted_schedule_is_sampled_by_our_own_function(node, service, kind, sampling, denoise_share):
    wanted = fitted(kind)
    service.body = wanted.model_dump_json().encode()
    sigmas, sampler = queue(node, sampling, solver="fitted", denoise=denoise_share)
    latent = torch.randn(64, 2, generator=torch.Generator().manual_seed(4)) if denoise_share < 1 else torch.zeros(64, 2)
    calls, found = sampler.sample(sampling, sigmas, NOISE, latent)
    levels = wanted.sigmas[-len(sigmas) :]
    assert calls == pytest.approx(sigmas[:-1].tolist())
    start = latent.double() + levels[0] * NOISE.double()
    torch.testing.assert_close(found, naive(denoise, start, levels, wanted.weights), atol=1e-5, rtol=0, check_dtype=False)


@pytest.mark.parametrize("kind", ["vp", "flow"])
def test_a_split_schedule_is_sampled_in_two_halves(kind):
    """SplitSigmas: the upper half has the first weights; the lower one starts late, its first estimate standing for the missing."""
    wanted, sampling = fitted(kind), comfy.CONST() if kind == "flow" else comfy.EPS()
    sampler, sigmas = comfy.KSAMPLER(sampler_function(wanted)), torch.tensor(wanted.t or wanted.sigmas)
    _, upper = sampler.sample(sampling, sigmas[:4], NOISE, torch.zeros(64, 2))
    expected = naive(denoise, wanted.sigmas[0] * NOISE.double(), wanted.sigmas[:4], wanted.weights[:3])
    torch.testing.assert_close(upper, expected, atol=2e-5, rtol=0, check_dtype=False)
    _, lower = sampler.sample(sampling, sigmas[3:], NOISE, torch.zeros(64, 2))
    expected = naive(denoise, wanted.sigmas[3] * NOISE.double(), wanted.sigmas[3:], wanted.weights)
    torch.testing.assert_close(lower, expected, atol=1e-5, rtol=0, check_dtype=False)


def test_its_sampler_refuses_levels_that_are_not_its_own():
    with pytest.raises(ScheduleRefused, match="its weights belong to its own levels, and the levels received are 14, 3, 0"):
        comfy.KSAMPLER(sampler_function(fitted("vp"))).sample(comfy.EPS(), torch.tensor([14.0, 3.0, 0.0]), NOISE, torch.zeros(64, 2))


ONE_SCALE = {"cfg": 7.0}
DISTILLED = {"cfg": 1.0, "original_conds": {"positive": [{"guidance": 7.0}]}}


@pytest.mark.parametrize(
    ("kind", "made_for", "guider", "given"),
    [
        ("vp", 7.0, ONE_SCALE, 7.0),
        ("vp", 5.0, ONE_SCALE, 7.0),
        ("vp", 5.0, {"cfg": 1.0}, 1.0),
        ("vp", None, ONE_SCALE, 7.0),
        ("flow", 7.0, DISTILLED, 7.0),
        ("flow", 3.5, DISTILLED, 7.0),
        ("flow", 3.5, {"cfg": 1.0}, None),
        ("flow", 3.5, DISTILLED | {"cfg": 2.0}, None),
        ("vp", 5.0, ONE_SCALE | {"cfg1": 7.0, "cfg2": 1.0}, None),
    ],
)
def test_a_fitted_schedule_runs_at_its_own_guidance_where_the_guider_tells_it(kind, made_for, guider, given):
    guider, sampling = SimpleNamespace(**guider), comfy.CONST() if kind == "flow" else comfy.EPS()
    assert guidance_of(guider, flow=kind == "flow") == given
    wanted = fitted(kind).model_copy(update={"guidance_scale": made_for})
    sampler, sigmas = comfy.KSAMPLER(sampler_function(wanted)), torch.tensor(wanted.t or wanted.sigmas)
    if None in {made_for, given} or made_for == given:
        assert len(sampler.sample(sampling, sigmas, NOISE, torch.zeros(64, 2), guider)[0]) == 8
        return
    message = rf"made for guidance_scale={made_for:g}, and the sampling has {given:g}; fix: set the guidance to {made_for:g}"
    with pytest.raises(ScheduleRefused, match=message):
        sampler.sample(sampling, sigmas, NOISE, torch.zeros(64, 2), guider)


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("solver", [solver for solver in Solver if solver is not Solver.FITTED])
def test_every_cell_of_the_solver_map_is_run_or_refused_as_its_format_is(solver, flow):
    if runs_solver(Format.COMFYUI, solver, "flow" if flow else "vp"):
        name, _ = sampler_name(solver, flow=flow)
        assert name
        assert solver in solvers()
    else:
        with pytest.raises(ScheduleRefused, match=f"solver={solver.value} is refused: ComfyUI has no sampler that runs it on"):
            sampler_name(solver, flow=flow)


def test_a_model_of_a_lower_range_is_told_from_its_own():
    check_model(schedule(), flow=False, sigma_max=14.6)
    with pytest.raises(ScheduleRefused, match=r"highest noise level 13\.9, expected at most 9"):
        check_model(schedule(), flow=False, sigma_max=9.0)
