"""Noise processes: round trips, monotony, and agreement with the tables that people use."""

import numpy as np
import pytest
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.ays.noise import EDM, VE, VP, Flow, NoiseProcess, cosine_betas, linear_betas, scaled_linear_betas, zero_terminal_snr

PROCESSES: dict[str, NoiseProcess] = {
    "ve": VE(sigma_min=0.01, sigma_max=50.0),
    "edm": EDM(),
    "flow": Flow(),
    "vp linear": VP(linear_betas()),
    "vp scaled_linear": VP(scaled_linear_betas()),
    "vp cosine": VP(cosine_betas()),
}

every_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


@every_process
@settings(deadline=None, derandomize=True, max_examples=25)
@given(share=st.floats(0, 1))
def test_noise_levels_survive_the_round_trip_through_native_time(process: NoiseProcess, share: float) -> None:
    sigma = process.sigma_max**share * process.sigma_min ** (1 - share)
    assert process.sigma(process.time(sigma)) == pytest.approx(sigma, rel=1e-9)


@every_process
def test_native_time_increases_strictly_with_noise(process: NoiseProcess) -> None:
    sigma = np.geomspace(process.sigma_min, process.sigma_max, 500)
    assert np.all(np.diff(process.time(sigma)) > 0)
    assert np.all(np.diff(process.sigma(process.time(sigma))) > 0)
    assert np.all(process.scale(sigma) > 0)
    assert np.all(np.diff(process.scale(sigma)) <= 0)


@every_process
def test_arrays_of_any_shape_keep_it(process: NoiseProcess) -> None:
    sigma = np.full((2, 3), process.sigma_max / 2)
    assert process.time(sigma).shape == process.sigma(process.time(sigma)).shape == process.scale(sigma).shape == (2, 3)


def test_stable_diffusion_has_the_published_range_and_timesteps() -> None:
    process = VP(scaled_linear_betas())
    assert process.sigma_min == pytest.approx(0.02917, abs=5e-6)
    assert process.sigma_max == pytest.approx(14.6146, abs=5e-5)
    received = process.sigma([999, 850, 736, 645, 545, 455, 343, 233, 124, 24])
    published = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152]
    assert received == pytest.approx(published, rel=6e-3)
    assert np.round(process.time(received)).astype(int).tolist() == [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]


def test_ddpm_linear_has_the_known_range() -> None:
    process = VP(linear_betas())
    assert process.sigma_min == pytest.approx(0.0100, abs=5e-5)
    assert process.sigma_max == pytest.approx(157.41, abs=5e-3)


@pytest.mark.parametrize(
    ("betas", "name", "ends"),
    [
        (linear_betas(), "linear", {"beta_start": 1e-4, "beta_end": 0.02}),
        (scaled_linear_betas(), "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
        (cosine_betas(), "squaredcos_cap_v2", {}),
    ],
)
def test_betas_and_sigmas_are_those_of_diffusers(betas: np.ndarray, name: str, ends: dict[str, float]) -> None:
    theirs = DDPMScheduler(beta_schedule=name, **ends)
    assert theirs.betas.numpy() == pytest.approx(betas, rel=1e-4)
    # Their tables are in float32: `1 - alpha_bar` loses four digits at the cosine table's first entry, the last is off by 0.5 %.
    sigma = EulerDiscreteScheduler(beta_schedule=name, **ends).sigmas.numpy()[:-1][::-1]
    assert VP(betas).sigma(np.arange(1000))[:-1] == pytest.approx(sigma[:-1], rel=5e-4)
    assert VP(betas).sigma_max == pytest.approx(sigma[-1], rel=6e-3)


def test_zero_terminal_signal_leaves_a_finite_range() -> None:
    theirs = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True)
    ours = zero_terminal_snr(scaled_linear_betas())
    assert theirs.betas.numpy() == pytest.approx(ours, abs=2e-5)
    # Their table is in float32, ours ends at 1 exactly: both leave out the last level alone, not an infinite or an absurd one.
    for betas in (ours, theirs.betas.double().numpy()):
        process = VP(betas)
        assert 100 < process.sigma_max < 4096
        assert process.time(process.sigma_max) == pytest.approx(998)
    assert process.train_timesteps == 1000


def test_flow_refuses_the_time_of_infinite_noise() -> None:
    with pytest.raises(ValueError, match=r"received t in \[0\.5, 1\.0\]; expected 0 <= t < 1; cap t"):
        Flow().sigma([0.5, 1.0])


def test_flow_time_is_the_mixing_fraction() -> None:
    sigma = np.array([0.01, 1.0, 99.0])
    t = Flow().time(sigma)
    assert t == pytest.approx([0.01 / 1.01, 0.5, 0.99])
    assert Flow().scale(sigma) == pytest.approx(1 - t)


@pytest.mark.parametrize("betas", [[0.1, 0.0], [0.1, 1.2], [[0.1, 0.2]]])
def test_impossible_betas_are_refused_with_what_was_received(betas: list[float]) -> None:
    with pytest.raises(ValueError, match=r"received betas of shape .* expected shape \(T,\) in \(0, 1\]"):
        VP(betas)


def test_betas_without_two_finite_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="received betas with 1 finite noise levels; expected at least 2"):
        VP([0.1, 1.0])
