"""Stock schedules are those of diffusers; resampling is the paper's."""

import itertools

import numpy as np
import pytest
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from ays_client.contract import Terminal as TerminalLevel
from ays_client.published import PUBLISHED
from worker.ays.noise import EDM, VE, VP, Flow, cosine_betas, linear_betas, scaled_linear_betas
from worker.ays.schedule import edm, log_snr, moved_ends, resample, stock_schedules

SD = VP(scaled_linear_betas())
PROCESSES = {
    "ve": VE(sigma_min=0.01, sigma_max=50.0),
    "edm": EDM(),
    "flow": Flow(shift=3.0),
    "sd": SD,
    "ddpm": VP(linear_betas()),
    "if": VP(cosine_betas()),
    "svd": EDM(sigma_max=700.0),
}

quiet_diffusers = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
@settings(deadline=None, derandomize=True, max_examples=20)
@given(steps=st.integers(2, 70))
def test_stock_schedules_go_down_strictly_from_the_top_to_their_terminal(process, terminal, steps: int) -> None:
    high, low = process.sigma_max, process.sigma_min
    found = stock_schedules(steps, sigma_max=high, sigma_min=low, terminal=terminal, process=process)
    assert "edm" in found
    for name, levels in found.items():
        assert levels.shape == (steps + 1,)
        assert np.all(np.diff(levels) < 0)
        assert levels[:-1].min() >= low * (1 - 1e-9)
        if name not in {"leading", "ddim_uniform", "ays_if"}:
            assert levels[0] == pytest.approx(high, rel=1e-9)
        assert levels[-1] == pytest.approx(0 if terminal == "zero" else low, rel=1e-9)
        if name in {"edm", "log_snr", "time_uniform", "kl_optimal"}:
            assert levels[-2 if terminal == "zero" else -1] == pytest.approx(low, rel=1e-9)


@quiet_diffusers
@pytest.mark.parametrize("steps", [4, 10, 15, 30])
def test_uniform_timesteps_are_the_linspace_spacing_of_diffusers(steps: int) -> None:
    theirs = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="linspace")
    theirs.set_timesteps(steps)
    received = SD.time(whole(steps, "sd")["time_uniform"][:-1])
    # Theirs are rounded to whole timesteps, ours are not.
    assert received == pytest.approx(theirs.timesteps.numpy(), abs=0.5 + 1e-9)


def whole(steps: int, name: str, terminal: str = "zero") -> dict[str, np.ndarray]:
    process = PROCESSES[name]
    return stock_schedules(steps, sigma_max=process.sigma_max, sigma_min=process.sigma_min, terminal=terminal, process=process)


RAMPS = {"edm", "log_snr", "time_uniform", "kl_optimal", "beta_sigmas", "beta", "beta57", "bong_tangent"}
TABLE_OF_TIMESTEPS = {"leading", "trailing", "ddim_uniform", "sgm_uniform", "linear_quadratic"}
EXPECTED = {
    "ve": RAMPS | {"sgm_uniform", "linear_quadratic"},
    # Time is ln sigma / 4, so that uniform times are those of log-SNR.
    "edm": RAMPS - {"time_uniform"} | {"sgm_uniform", "linear_quadratic"},
    "flow": RAMPS | {"karras", "exponential", "shifted", "normal", "sgm_uniform", "flux2", "ltx2", "linear_quadratic"},
    "sd": RAMPS | TABLE_OF_TIMESTEPS | {"ays_sd15", "ays_sdxl"},
    "ddpm": RAMPS | TABLE_OF_TIMESTEPS,
    "if": RAMPS | TABLE_OF_TIMESTEPS | {"ays_if"},
    "svd": RAMPS - {"time_uniform"} | {"sgm_uniform", "linear_quadratic", "ays_svd"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_kind_of_model_has_the_schedules_that_people_run_on_it(name: str) -> None:
    # 64 steps do not divide 1,000, so that hardly any of them coincide.
    assert set(whole(64, name)) - {"simple"} == EXPECTED[name]


def test_schedules_that_coincide_are_there_once() -> None:
    """On 25 steps `simple` and `trailing` are the same timesteps; of two steps `edm` and `log_snr` know the ends alone."""
    assert "trailing" in whole(25, "sd")
    assert "simple" not in whole(25, "sd")
    assert "log_snr" not in whole(2, "sd")
    for name in PROCESSES:
        for found in (whole(5, name), whole(20, name)):
            for one, other in itertools.combinations(found.values(), 2):
                assert not np.allclose(one, other, rtol=0.01, atol=0)


def test_spacings_of_a_table_know_no_range_but_the_whole_and_end_at_zero() -> None:
    for terminal, high in (("sigma_min", SD.sigma_max), ("zero", 10.0)):
        found = stock_schedules(8, sigma_max=high, sigma_min=SD.sigma_min, terminal=terminal, process=SD)
        assert set(found) - {"ays_sd15", "ays_sdxl"} == RAMPS
        assert ("ays_sd15" in found) == (high == SD.sigma_max)


@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
@pytest.mark.parametrize("steps", [5, 10, 23])
def test_published_tables_are_those_that_a_client_serves(steps: int, terminal: str) -> None:
    models = {
        "ays_sd15": ("sd", "stable-diffusion-1.5"),
        "ays_sdxl": ("sd", "stable-diffusion-xl"),
        "ays_if": ("if", "deepfloyd-if"),
        "ays_svd": ("svd", "stable-video-diffusion"),
    }
    for name, (process, table) in models.items():
        expected = PUBLISHED[table].schedule(steps, TerminalLevel(terminal))
        assert whole(steps, process, terminal)[name] == pytest.approx(expected, rel=1e-9)


def test_ends_are_moved_strictly_into_the_range() -> None:
    found = moved_ends(6, sigma_max=20.0, sigma_min=0.015, terminal="zero")
    assert {levels[0] for levels in found.values()} == {20.0, 10.0, 5.0}
    assert len(found) == 2 * (3 * 3 - 1)
    assert found["edm(top=5)"] == pytest.approx(edm(6, sigma_max=5.0, sigma_min=0.015, terminal="zero"))
    assert found["log_snr(top=10, bottom=0.05)"] == pytest.approx(log_snr(6, sigma_max=10.0, sigma_min=0.05, terminal="zero"))
    assert found["edm(bottom=0.02)"][[0, -2, -1]] == pytest.approx([20.0, 0.02, 0.0])
    for levels in found.values():
        assert levels.shape == (7,)
        assert np.all(np.diff(levels) < 0)


def test_a_schedule_that_has_to_end_at_sigma_min_keeps_its_bottom() -> None:
    found = moved_ends(6, sigma_max=80.0, sigma_min=0.002, terminal="sigma_min")
    assert set(found) == {f"{rule}(top={top})" for rule in ("edm", "log_snr") for top in (5, 10, 20, 40)}
    assert all(levels[-1] == pytest.approx(0.002) for levels in found.values())


def test_a_narrow_range_has_no_ends_to_move() -> None:
    assert moved_ends(6, sigma_max=4.0, sigma_min=0.05, terminal="zero") == {}


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
