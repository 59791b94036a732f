"""Stock schedules are those of diffusers; resampling is the paper's."""

import numpy as np
import pytest
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.ays.noise import EDM, VE, VP, Flow, linear_betas, scaled_linear_betas
from worker.ays.schedule import edm, leading, log_snr, resample, stock_schedules, time_uniform, trailing

SD = VP(scaled_linear_betas())
SD_CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PROCESSES = {"ve": VE(sigma_min=0.01, sigma_max=50.0), "edm": EDM(), "flow": Flow(), "sd": SD, "ddpm": VP(linear_betas())}

quiet_diffusers = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
@settings(deadline=None, derandomize=True, max_examples=20)
@given(steps=st.integers(2, 70))
def test_stock_schedules_go_down_strictly_from_the_top_to_their_terminal(process, terminal, steps: int) -> None:
    high, low = process.sigma_max, process.sigma_min
    found = stock_schedules(steps, sigma_max=high, sigma_min=low, terminal=terminal, process=process)
    assert {"edm", "log_snr", "time_uniform"} <= set(found)
    for name, levels in found.items():
        assert levels.shape == (steps + 1,)
        assert np.all(np.diff(levels) < 0)
        assert levels[:-1].min() >= low * (1 - 1e-9)
        if name != "leading":
            assert levels[0] == high
        if terminal == "zero":
            assert levels[-1] == 0
        if name in {"edm", "log_snr", "time_uniform"}:
            assert levels[-2 if terminal == "zero" else -1] == pytest.approx(low, rel=1e-9)


def test_each_ramp_is_linear_in_its_own_coordinate() -> None:
    span = {"sigma_max": 80.0, "sigma_min": 0.002}
    assert np.diff(edm(9, **span, terminal="sigma_min") ** (1 / 7), n=2) == pytest.approx(0, abs=1e-12)
    assert np.diff(np.log(log_snr(9, **span, terminal="sigma_min")), n=2) == pytest.approx(0, abs=1e-12)
    flow = time_uniform(9, sigma_max=99.0, sigma_min=0.01, terminal="sigma_min", process=Flow())
    assert np.diff(Flow().time(flow), n=2) == pytest.approx(0, abs=1e-12)


@quiet_diffusers
@pytest.mark.parametrize("steps", [5, 10, 20])
def test_karras_sigmas_are_those_of_diffusers(steps: int) -> None:
    theirs = EulerDiscreteScheduler(**SD_CONFIG, use_karras_sigmas=True)
    theirs.set_timesteps(steps)
    received = edm(steps, sigma_max=SD.sigma_max, sigma_min=SD.sigma_min, terminal="zero")
    assert received == pytest.approx(theirs.sigmas.numpy(), rel=1e-4)


@quiet_diffusers
@pytest.mark.parametrize("steps", [4, 10, 15, 30])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_spacings_of_ddpm_are_those_of_diffusers(spacing: str, steps: int) -> None:
    theirs = DDIMScheduler(**SD_CONFIG, timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    found = stock_schedules(steps, sigma_max=SD.sigma_max, sigma_min=SD.sigma_min, terminal="zero", process=SD)
    received = SD.time(found["time_uniform" if spacing == "linspace" else spacing][:-1])
    # Their linspace is rounded to whole timesteps, ours is not.
    assert received == pytest.approx(theirs.timesteps.numpy(), abs=0.5 + 1e-9 if spacing == "linspace" else 1e-6)


def test_the_spacings_of_ddpm_know_no_range_but_the_whole_and_end_at_zero() -> None:
    assert {"leading", "trailing"} <= set(stock_schedules(8, sigma_max=SD.sigma_max, sigma_min=SD.sigma_min, terminal="zero", process=SD))
    for terminal, high in (("sigma_min", SD.sigma_max), ("zero", 10.0)):
        found = stock_schedules(8, sigma_max=high, sigma_min=SD.sigma_min, terminal=terminal, process=SD)
        assert set(found) == {"edm", "log_snr", "time_uniform"}
    assert leading(8, process=SD)[0] < SD.sigma_max
    assert trailing(8, process=SD)[0] == pytest.approx(SD.sigma_max)


descending = st.lists(st.floats(-4, 4), min_size=2, max_size=12, unique=True).map(lambda z: np.exp(np.sort(z)[::-1]))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(levels=descending, to_zero=st.booleans())
def test_resampling_at_its_own_steps_is_the_identity(levels: np.ndarray, to_zero: bool) -> None:
    levels = np.append(levels, 0.0) if to_zero else levels
    assert resample(levels, len(levels) - 1) == pytest.approx(levels, rel=1e-12)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(levels=descending, to_zero=st.booleans(), steps=st.integers(2, 64))
def test_resampling_keeps_ends_and_order(levels: np.ndarray, to_zero: bool, steps: int) -> None:
    received = resample(np.append(levels, 0.0) if to_zero else levels, steps)
    assert received.shape == (steps + 1,)
    assert received[0] == levels[0]
    assert (received[-2], received[-1]) == (levels[-1], 0.0) if to_zero else received[-1] == levels[-1]
    assert np.all(np.diff(received) <= 0)


def test_doubling_the_steps_inserts_geometric_means() -> None:
    """The paper's subdivision (Appendix B.1)."""
    published = np.array([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029])
    received = resample(published, 20)
    assert received[::2] == pytest.approx(published)
    assert received[1::2] == pytest.approx(np.sqrt(published[:-1] * published[1:]))


def test_one_step_to_zero_starts_at_the_top() -> None:
    assert resample(np.array([9.0, 1.0, 0.1, 0.0]), 1).tolist() == [9.0, 0.0]
    assert resample(np.array([9.0, 1.0, 0.1]), 1).tolist() == [9.0, 0.1]


@quiet_diffusers
@pytest.mark.parametrize("steps", [4, 28])
def test_the_shifted_flow_is_that_of_diffusers(steps: int) -> None:
    process = Flow(shift=3.0)
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    levels = stock_schedules(steps, sigma_max=process.sigma_max, sigma_min=process.sigma_min, terminal="zero", process=process)["shifted"]
    assert process.time(levels)[1:] == pytest.approx(theirs.sigmas.numpy()[1:], abs=1e-6)
    assert levels[0] == process.sigma_max
