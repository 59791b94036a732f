"""Every constructor argument of the schedulers in our rules is understood, undone, or refused by name."""

import inspect

import diffusers
import pytest
import torch

from ays_client.contract import Solver
from ays_client.errors import ScheduleRefused
from ays_client.scheduler_fields import FIELDS
from ays_client.scheduler_rules import RULES, SWAPPED
from ays_client.schedulers import with_schedule
from tests.integrate.problems import LATENT, schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

OTHER_LEVELS = {
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "interpolation_type": "log_linear",
    "set_alpha_to_one": False,
    "final_sigmas_type": "sigma_min",
    "lambda_min_clipped": -5.1,
    "use_karras_sigmas": True,
    "use_exponential_sigmas": True,
    "use_beta_sigmas": True,
    "use_lu_lambdas": True,
    "sigma_schedule": "exponential",
    "rho": 5.0,
    "shift": 3.0,
    "flow_shift": 3.0,
    "shift_terminal": 0.1,
    "use_dynamic_shifting": True,
    "time_shift_type": "linear",
    "base_shift": 0.1,
    "max_shift": 2.0,
    "base_image_seq_len": 64,
    "max_image_seq_len": 1024,
}
"""A value of each argument about levels that is not its default."""


def arguments(name):
    return [each for each in inspect.signature(getattr(diffusers, name).__init__).parameters if each != "self"]


@pytest.mark.parametrize("name", sorted(set(RULES) | SWAPPED))
def test_every_argument_has_a_meaning(name):
    unknown = set(arguments(name)) - set(FIELDS)
    assert not unknown, f"decide what {unknown} of {name} mean for a schedule, in ays_client/scheduler_fields.py"


def test_every_meaning_is_of_an_argument():
    assert set(FIELDS) == {argument for name in set(RULES) | SWAPPED for argument in arguments(name)}
    assert set(OTHER_LEVELS) == {argument for argument, meaning in FIELDS.items() if meaning == "levels"}


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name in sorted(set(RULES) | SWAPPED) for argument in arguments(name) if FIELDS[argument] == "levels"],
)
def test_what_is_about_levels_changes_none(name, argument):
    kind = "flow" if name.startswith("FlowMatch") else "edm" if name.startswith("EDM") else "vp"
    config = LATENT if kind == "vp" else {}
    if argument == "shift_terminal" and kind == "vp":  # Of flow models alone.
        kind, config = "flow", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    wanted = schedule(kind=kind, solver=Solver.HEUN if "Heun" in name else Solver.DPMPP_2M)
    plain = with_schedule(getattr(diffusers, name)(**config), wanted)
    made = with_schedule(getattr(diffusers, name)(**config | {argument: OTHER_LEVELS[argument]}), wanted)
    made.set_timesteps(30)
    assert torch.equal(made.sigmas, plain.sigmas)
    assert torch.equal(made.timesteps, plain.timesteps)
    image, noise = torch.randn(2, 1, 4, 8, 8)
    draws = "generator" in inspect.signature(made.step).parameters
    stepped = []
    for each in (made, plain):
        more = {"generator": torch.Generator().manual_seed(0)} if draws else {}
        each.scale_model_input(image, each.timesteps[0])  # Some warn where it is left out.
        stepped.append(each.step(noise, each.timesteps[0], image, **more).prev_sample)
    assert torch.equal(*stepped)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "invert_sigmas=True counts noise levels upwards"),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas=True does not go with prediction_type='epsilon'"),
        (
            "DPMSolverMultistepScheduler",
            {"prediction_type": "flow_prediction"},
            "use_flow_sigmas=False does not go with prediction_type='flow_prediction'",
        ),
    ],
)
def test_what_cannot_be_undone_is_refused_by_name(name, config, message):
    with pytest.raises(ScheduleRefused, match=f"{name} is refused: {message}"):
        with_schedule(getattr(diffusers, name)(**config), schedule(kind="flow"))
