"""The fitted scheduler against a naive loop of its formula, on every kind of model."""

import copy
import json
import math
import pickle

import diffusers
import pytest
import torch

from ays_client.contract import Solver, Terminal
from ays_client.errors import ScheduleRefused
from ays_client.fitted_scheduler import FittedScheduler
from ays_client.pipelines import apply_schedule, restore
from ays_client.schedulers import runs, scheduled, with_schedule, without_schedule
from tests.integrate.fitted import naive, random_weights
from tests.integrate.problems import EDM_STD, LATENT, LEVELS, denoise, run, schedule
from tests.integrate.test_schedulers import EDM, EXACT, FLOW, NOISE, VIDEO, stock

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore:.algorithm_types:FutureWarning")]

CONTINUOUS = VIDEO | {"prediction_type": "epsilon"}
MULTISTEP = "DPMSolverMultistepScheduler"


def fitted(**changes):
    levels = changes.get("levels", LEVELS)
    return schedule(solver=Solver.FITTED, weights=random_weights(len(levels)), **changes)


def expected(wanted, noise=NOISE):
    return naive(denoise, wanted.sigmas[0] * noise.double(), wanted.sigmas, wanted.weights)


CASES = [
    ("vp", "EulerDiscreteScheduler", LATENT),
    ("vp", "HeunDiscreteScheduler", LATENT | {"use_karras_sigmas": True}),
    ("vp", MULTISTEP, LATENT | {"use_karras_sigmas": True, "solver_order": 3}),
    ("vp", "DDIMScheduler", LATENT),
    ("vp", "PNDMScheduler", LATENT),
    ("vp", "UniPCMultistepScheduler", LATENT),
    ("vp", "DEISMultistepScheduler", LATENT),
    ("vp", "EulerAncestralDiscreteScheduler", LATENT),
    ("edm", "EDMEulerScheduler", EDM | {"sigma_data": EDM_STD}),
    ("edm", "EDMDPMSolverMultistepScheduler", EDM | {"sigma_data": EDM_STD}),
    ("svd", "EulerDiscreteScheduler", VIDEO),
    ("flow", "FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("flow", "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}),
    ("flow", MULTISTEP, FLOW),
    ("flow", "UniPCMultistepScheduler", FLOW),
]


def fitted_for(kind, **changes):
    return fitted(kind="edm", prediction_type="v_prediction", **changes) if kind == "svd" else fitted(kind=kind, **changes)


def sampled(scheduler, kind, noise=NOISE):
    """The sample in `x_0 + sigma eps`, from noise of the schedule's first level."""
    x = run(scheduler, kind, noise)
    # That loop knows the coordinates of a scheduler by its name.
    return x / math.hypot(1, float(scheduler.sigmas[-1])) if kind in {"edm", "svd"} else x


@pytest.mark.parametrize("terminal", list(Terminal))
@pytest.mark.parametrize(("kind", "name", "config"), CASES)
def test_it_is_the_naive_loop(kind, name, config, terminal):
    wanted = fitted_for(kind, terminal=terminal)
    made = with_schedule(stock(name, config), wanted)
    assert isinstance(made, FittedScheduler)
    made.set_timesteps(50)
    torch.testing.assert_close(sampled(made, kind), expected(wanted), **EXACT)


@pytest.mark.parametrize("count", [2, 3, 64])
def test_any_number_of_steps(count):
    wanted = fitted(levels=[13.9 * (0.05 / 13.9) ** (index / (count - 1)) for index in range(count)])
    torch.testing.assert_close(sampled(with_schedule(stock(MULTISTEP, LATENT), wanted), "vp"), expected(wanted), **EXACT)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_what_a_ddpm_network_may_predict(prediction):
    wanted = fitted(prediction_type=prediction)
    made = with_schedule(stock(MULTISTEP, LATENT | {"prediction_type": prediction}), wanted)
    state = NOISE * made.init_noise_sigma
    for time, sigma in zip(made.timesteps, wanted.sigmas, strict=False):
        h = math.hypot(1, sigma)
        clean = denoise(state.double() * h, sigma)
        eps = (state.double() * h - clean) / sigma
        output = {"sample": clean, "v_prediction": (eps - sigma * clean) / h}[prediction]
        state = made.step(output.float(), time, made.scale_model_input(state, time), return_dict=False)[0]
    torch.testing.assert_close(state, expected(wanted), **EXACT)


@pytest.mark.parametrize("first", [1, 3, 7])
def test_after_a_late_start_the_first_estimate_stands_for_the_missing_ones(first):
    wanted, own = fitted(), stock(MULTISTEP, LATENT)
    made = with_schedule(own, wanted)
    own.set_timesteps(8)
    made.set_timesteps(8)
    made.set_begin_index(first)
    levels = [float(own.sigmas[first])]
    levels += [level for level in wanted.sigmas if level < levels[0]]
    image = torch.randn(64, 2, generator=torch.Generator().manual_seed(4))
    x = made.add_noise(image, NOISE, made.timesteps[:1])
    for time, sigma in zip(made.timesteps, levels[:-1], strict=True):
        h = math.hypot(1, sigma)
        x = made.step(((x.double() * h - denoise(x.double() * h, sigma)) / sigma).float(), time, x).prev_sample
    start = image.double() + levels[0] * NOISE.double()
    torch.testing.assert_close(x, naive(denoise, start, levels, wanted.weights), **EXACT)


def test_the_start_may_be_between_two_levels():
    """Levels that are cut, as for an img2img start, keep the weights of the step that they lie in."""
    wanted = fitted()
    made = with_schedule(stock(MULTISTEP, LATENT), wanted)
    made.set_timesteps(8)
    made.sigmas, made.timesteps = torch.tensor([2.5, *wanted.sigmas[3:]]), torch.tensor([700.0, *wanted.timesteps[3:]])
    x, levels = NOISE * 2.5 / math.hypot(1, 2.5), [2.5, *wanted.sigmas[3:]]
    for time, sigma in zip(made.timesteps, levels, strict=False):
        h = math.hypot(1, sigma)
        x = made.step(((x.double() * h - denoise(x.double() * h, sigma)) / sigma).float(), time, x).prev_sample
    torch.testing.assert_close(x, naive(denoise, 2.5 * NOISE.double(), levels, wanted.weights), **EXACT)


def test_what_the_pipeline_changes_between_steps_counts():
    """Inpainting writes the known part over the state after every step; without it half of the state is as it was."""
    wanted, known = fitted(), torch.arange(64) < 32
    made = with_schedule(stock(MULTISTEP, LATENT), wanted)
    x = NOISE.bfloat16() * made.init_noise_sigma
    free = sampled(copy.deepcopy(made), "vp")
    for index, (time, sigma) in enumerate(zip(made.timesteps, wanted.sigmas, strict=False)):
        h = math.hypot(1, sigma)
        made.scale_model_input(x, time)
        output = (x.double() * h - denoise(x.double() * h, sigma)) / sigma
        x = made.step(output.bfloat16(), time, x, return_dict=False)[0]
        assert x.dtype is torch.bfloat16
        if index < 7:
            x = torch.where(known[:, None], made.add_noise(torch.ones_like(x), NOISE.bfloat16(), made.timesteps[index + 1 :][:1]), x)
    assert torch.isfinite(x).all()
    assert (x[known].float() - free[known]).abs().median() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_state_is_kept_in_float32(dtype):
    """A network of constant output makes every error that of the state."""
    wanted = fitted(kind="flow")
    made = with_schedule(stock("FlowMatchEulerDiscreteScheduler", {}), wanted)
    output = torch.full((64, 2), 0.25, dtype=dtype)
    x = (NOISE * wanted.t[0]).to(dtype)
    wide = x.float()
    for time in made.timesteps:
        x = made.step(output, time, x, return_dict=False)[0]
    made.set_timesteps()
    for time in made.timesteps:
        wide = made.step(output.float(), time, wide, return_dict=False)[0]
    assert x.dtype is dtype
    assert torch.equal(x, wide.to(dtype))


def test_a_learned_variance_is_not_used():
    wanted = fitted()
    plain, doubled = (with_schedule(stock(MULTISTEP, LATENT), wanted) for _ in range(2))
    output, x = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    time = plain.timesteps[0]
    more = doubled.step(torch.cat([output, torch.randn(3, 4, 8, 8)], 1), time, x).prev_sample
    assert torch.equal(more, plain.step(output, time, x).prev_sample)


def test_one_step_too_many_is_refused():
    made = with_schedule(stock(MULTISTEP, LATENT), fitted())
    run(made, "vp", NOISE)
    with pytest.raises(ScheduleRefused, match="step 9 of 8 was asked for; fix: call set_timesteps"):
        made.step(NOISE, made.timesteps[0], NOISE)


def copies(made, folder):
    made.save_pretrained(folder)
    return {
        "from_config": type(made).from_config(made.config),
        "deepcopy": copy.deepcopy(made),
        "pickle": pickle.loads(pickle.dumps(made)),
        "saved": type(made).from_pretrained(folder),
        "saved, by name": FittedScheduler.from_pretrained(folder),
        "json": FittedScheduler.from_config(json.loads(made.to_json_string())),
    }


@pytest.mark.parametrize(("kind", "name", "config"), [CASES[0], CASES[3], CASES[8], CASES[11], CASES[13]])
def test_copies_keep_levels_and_weights(kind, name, config, tmp_path, caplog):
    made = with_schedule(stock(name, config), fitted_for(kind))
    first = run(made, kind, NOISE)
    for how, each in copies(made, tmp_path).items():
        each.set_timesteps(30)
        assert torch.equal(run(each, kind, NOISE), first), how
    assert not caplog.records


@pytest.mark.parametrize(("kind", "name", "config"), CASES)
def test_the_stock_scheduler_comes_back(kind, name, config):
    scheduler, wanted = stock(name, config), fitted_for(kind)
    made = with_schedule(scheduler, wanted)
    assert scheduled(made)
    assert runs(made, wanted)
    for each in (made, copy.deepcopy(made), type(made).from_config(made.config)):
        back = without_schedule(each)
        assert type(back) is type(scheduler)
        assert back.to_json_string() == scheduler.to_json_string()


@pytest.mark.parametrize(
    ("name", "config", "changes", "message"),
    [
        (MULTISTEP, LATENT, {"weights": None}, "its weights are not those of its solver and steps"),
        (MULTISTEP, LATENT, {"weights": random_weights(7)}, "its weights are not those"),
        (MULTISTEP, LATENT, {"weights": [[0.5], *random_weights(8)[1:]]}, "its weights are not those"),
        (MULTISTEP, LATENT, {"weights": [[0.5, 0.5], *random_weights(8)[1:]]}, "its weights are not those"),
        (MULTISTEP, LATENT, {"solver": Solver.DPMPP_2M}, "its weights are not those"),
        ("FlowMatchEulerDiscreteScheduler", {}, {}, "noise process vp, expected flow"),
        ("KDPM2DiscreteScheduler", LATENT, {}, "KDPM2DiscreteScheduler is refused"),
        ("EulerDiscreteScheduler", CONTINUOUS, {"kind": "edm"}, "noise_process=edm with prediction_type=noise, expected epsilon or"),
    ],
)
def test_what_is_refused(name, config, changes, message):
    with pytest.raises(ScheduleRefused, match=message):
        with_schedule(stock(name, config), schedule(**{"solver": Solver.FITTED, "weights": random_weights(8)} | changes))


def test_restoring_a_pipeline():
    class Pipe:
        scheduler = stock("EulerDiscreteScheduler", LATENT)

    pipe = Pipe()
    apply_schedule(pipe, fitted(), strict=True)
    assert isinstance(pipe.scheduler, FittedScheduler)
    assert type(apply_schedule(pipe, schedule(id="b" * 32, solver=Solver.EULER)).scheduler).__name__ == "EulerDiscreteScheduler"
    assert type(restore(pipe).scheduler) is diffusers.EulerDiscreteScheduler
