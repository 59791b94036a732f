"""Steps through a model's table are those of diffusers and of its pipelines, or of the formula where diffusers has none."""

import math

import numpy as np
import pytest
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from diffusers.pipelines.ltx2.pipeline_ltx2 import calculate_shift
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

from worker.ays.noise import EDM, VP, Flow, scaled_linear_betas
from worker.ays.spacings import flux2, leading, linear_quadratic, ltx2, normal, sgm_uniform, shifted, simple, trailing

SD = VP(scaled_linear_betas())
SD_CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COUNTS = pytest.mark.parametrize("steps", [2, 4, 7, 28])
SHIFTS = pytest.mark.parametrize("shift", [1.0, 3.0])


@COUNTS
@pytest.mark.parametrize(("spacing", "offset"), [("leading", 0), ("leading", 1), ("trailing", 0)])
def test_the_spacings_of_ddpm_are_those_of_diffusers(spacing: str, offset: int, steps: int) -> None:
    theirs = DDIMScheduler(**SD_CONFIG, timestep_spacing=spacing, steps_offset=offset)
    theirs.set_timesteps(steps)
    levels = leading(steps, process=SD, offset=offset) if spacing == "leading" else trailing(steps, process=SD)
    assert SD.time(levels[:-1]) == pytest.approx(theirs.timesteps.numpy(), abs=1e-6)


def after_the_first(levels: np.ndarray, process: Flow) -> np.ndarray:
    """Times after the first one, which is 1 in libraries and cut to `sigma_max` here."""
    assert levels[0] == process.sigma_max
    return process.time(levels)[1:]


@COUNTS
@SHIFTS
def test_flow_times_are_those_of_diffusers(shift: float, steps: int) -> None:
    process, theirs = Flow(shift=shift), FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    assert after_the_first(shifted(steps, process=process), process) == pytest.approx(theirs.sigmas.numpy()[1:], abs=1e-6)
    theirs.set_timesteps(steps)
    assert after_the_first(normal(steps, process=process), process) == pytest.approx(theirs.sigmas.numpy()[1:], abs=1e-5)


@COUNTS
@SHIFTS
def test_simple_and_sgm_uniform_step_through_the_table_of_a_flow(shift: float, steps: int) -> None:
    process, u = Flow(shift=shift), np.arange(1, 1001) / 1000
    table = shift * u / (1 + (shift - 1) * u)
    picked = [table[-(1 + int(k * 1000 / steps))] for k in range(1, steps)]
    assert after_the_first(simple(steps, process=process), process) == pytest.approx([*picked, 0.0], abs=1e-12)
    even = np.linspace(1, table[0], steps + 1)[1:-1]
    expected = [*(shift * even / (1 + (shift - 1) * even)), 0.0]
    assert after_the_first(sgm_uniform(steps, process=process), process) == pytest.approx(expected, abs=1e-12)


@COUNTS
def test_simple_and_sgm_uniform_step_through_the_table_of_timesteps(steps: int) -> None:
    assert SD.time(simple(steps, process=SD)[:-1]) == pytest.approx([999 - int(k * 1000 / steps) for k in range(steps)], abs=1e-6)
    assert SD.time(sgm_uniform(steps, process=SD)[:-1]) == pytest.approx(np.linspace(999, 0, steps + 1)[:-1], abs=1e-6)


@COUNTS
def test_continuous_models_have_a_table_that_is_even_in_ln_sigma(steps: int) -> None:
    table = np.exp(np.linspace(math.log(0.002), math.log(80.0), 1000))
    picked = [table[-(1 + int(k * 1000 / steps))] for k in range(steps)]
    assert simple(steps, process=EDM()) == pytest.approx([*picked, 0.0], rel=1e-9)
    assert sgm_uniform(steps, process=EDM())[:-1] == pytest.approx(np.geomspace(80.0, 0.002, steps + 1)[:-1], rel=1e-9)


@COUNTS
def test_linear_quadratic_is_that_of_mochi(steps: int) -> None:
    theirs = [*linear_quadratic_schedule(steps, 0.025), 0.0]
    process = Flow(sigma_max=1e9)
    assert process.time(linear_quadratic(steps, process=process)) == pytest.approx(theirs, abs=1e-8)
    assert linear_quadratic(steps, process=SD) == pytest.approx(SD.sigma_max * np.array(theirs), rel=1e-9, abs=1e-12)


@COUNTS
@pytest.mark.parametrize("tokens", [1024, 4096, 8192])
def test_flux2_is_that_of_its_pipeline(tokens: int, steps: int) -> None:
    process, theirs = Flow(), FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=compute_empirical_mu(tokens, steps))
    assert after_the_first(flux2(steps, process=process, tokens=tokens), process) == pytest.approx(theirs.sigmas.numpy()[1:], abs=1e-6)


@COUNTS
def test_ltx2_is_that_of_its_pipeline(steps: int) -> None:
    process, theirs = Flow(), FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.1)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=calculate_shift(4096, 1024, 4096, 0.95, 2.05))
    assert after_the_first(ltx2(steps, process=process), process) == pytest.approx(theirs.sigmas.numpy()[1:], abs=1e-6)
