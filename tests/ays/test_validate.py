"""Validation: references that are exact where the exact solution is known, and errors that are what they say."""

import math

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, plane, spectrum
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample
from worker.ays.validate import deviations, estimate, hold_out, squared_errors

LAW = spectrum()


def held_out(name: str, terminal: str = "zero", *, law=LAW, points: int = 64, n: int = 6, stream: Stream = Stream.JUDGE):
    levels = log_grid(law.sigma_max, law.sigma_min, points)
    return hold_out(
        SOLVERS[name],
        law.denoise,
        law.shape,
        levels=levels,
        terminal=terminal,
        indices=range(n),
        seed=0,
        stream=stream,
    )


def test_the_fine_reference_is_the_exact_flow_of_a_gaussian() -> None:
    state, clean = held_out("ddim", "sigma_min", points=300), held_out("ddim", "zero", points=300)
    exact = LAW.flow(20.0 * state.noise, 20.0, 0.02)
    torch.testing.assert_close(state.reference, exact, rtol=1e-3, atol=1e-6)
    expected = LAW.denoise(exact, torch.full((6,), 0.02, dtype=torch.float64))
    torch.testing.assert_close(clean.reference, expected, rtol=1e-3, atol=1e-6)
    assert state.brownian is None


@pytest.mark.parametrize(("name", "fine"), [("ddim", "dpmpp_2m"), ("sddim", "dpmpp_2m_sde")])
def test_the_fine_schedule_itself_has_no_error(name: str, fine: str) -> None:
    noises = held_out(name, "sigma_min")
    errors = squared_errors(SOLVERS[fine], LAW.denoise, log_grid(20.0, 0.02, 64)[None], noises)
    assert errors == pytest.approx(0, abs=1e-24)
    closed = np.append(log_grid(20.0, 0.02, 64), 0.0)
    assert squared_errors(SOLVERS[fine], LAW.denoise, closed[None], held_out(name))[0] == pytest.approx(0, abs=1e-24)


@pytest.mark.parametrize("name", SOLVERS)
def test_errors_vanish_as_the_steps_get_finer(name: str) -> None:
    """Stochastic samplers too: both ends are driven by one Brownian path."""
    noises = held_out(name, points=257)
    means = [squared_errors(SOLVERS[name], LAW.denoise, np.append(log_grid(20.0, 0.02, n), 0.0)[None], noises).mean() for n in (8, 32, 128)]
    assert means[0] > 4 * means[1] > 16 * means[2]


def test_errors_are_squared_distances_to_the_reference_for_each_schedule_and_noise() -> None:
    noises = held_out("dpmpp_2m", law=plane())
    table = np.array([[20.0, 3.0, 0.5, 0.0], [20.0, 5.0, 0.2, 0.0]])
    received = deviations(SOLVERS["dpmpp_2m"], plane().denoise, table, noises)
    assert received.shape == (2, 6, 2)
    for row, vectors in zip(table, received, strict=True):
        samples = sample(SOLVERS["dpmpp_2m"], plane().denoise, row, noises.noise)
        torch.testing.assert_close(vectors, samples - noises.reference)
    expected = np.square(received.numpy()).sum(axis=2)
    assert squared_errors(SOLVERS["dpmpp_2m"], plane().denoise, table, noises) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_a_part_has_the_errors_of_its_noises(name: str) -> None:
    noises, levels = held_out(name), np.array([[20.0, 3.0, 0.5, 0.0]])
    whole = squared_errors(SOLVERS[name], LAW.denoise, levels, noises)
    part = noises.part(2, 5)
    assert len(part) == 3
    assert squared_errors(SOLVERS[name], LAW.denoise, levels, part) == pytest.approx(whole[:, 2:5], rel=1e-12)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_joined_noises_have_the_errors_of_both(name: str) -> None:
    search, judge, levels = held_out(name, stream=Stream.SEARCH), held_out(name, n=4), np.array([[20.0, 3.0, 0.5, 0.0]])
    both = [squared_errors(SOLVERS[name], LAW.denoise, levels, part) for part in (search, judge)]
    received = squared_errors(SOLVERS[name], LAW.denoise, levels, search.joined(judge))
    assert received == pytest.approx(np.concatenate(both, axis=1), rel=1e-12)


def test_search_judge_and_benchmark_see_different_noises() -> None:
    noises = [held_out("ddim", stream=stream).noise for stream in (Stream.SEARCH, Stream.JUDGE, Stream.FRESH, Stream.PROFILE)]
    flat = torch.stack(noises).flatten()
    assert len(flat.unique()) == len(flat)


def test_the_reference_costs_one_evaluation_a_level_and_noise() -> None:
    denoise = evaluator(LAW)
    levels = log_grid(20.0, 0.02, 40)
    hold_out(SOLVERS["sddim"], denoise, (5,), levels=levels, terminal="zero", indices=range(3), seed=0, stream=Stream.JUDGE)
    assert denoise.evaluations == 120


def test_estimates_are_means_with_their_standard_errors() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 10000)
    received = estimate(values)
    assert abs(received.mean - 3.0) < 4 * received.standard_error
    assert received.standard_error == pytest.approx(2.0 / 100, rel=0.05)
    assert estimate(np.array([1.5])).standard_error == math.inf
