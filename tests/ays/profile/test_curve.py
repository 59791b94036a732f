"""Schedules from a loss curve: equal to those of the exact profile, and closed forms of entropic time."""

import numpy as np
import pytest

from tests.ays.problems import exact_forward_profile, line
from worker.ays.analytic import Gaussian
from worker.ays.noise import Array
from worker.ays.profile.curve import Curve, entropic, isotonic
from worker.ays.profile.profile import log_grid
from worker.ays.search.candidates import optimal_levels
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import SOLVERS

LAW = Gaussian(0.5, 3, sigma_min=0.01, sigma_max=40.0)
GRID = log_grid(40.0, 0.01, 64)


def measured(sigma: Array, law: Gaussian = LAW) -> Curve:
    return Curve.fitted(sigma, np.array([law.mmse(float(level)) for level in sigma]))


@pytest.mark.parametrize("exponent", [0.0, 1.8])
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_the_schedule_of_a_curve_is_that_of_the_exact_profile(terminal: str, exponent: float) -> None:
    exact = exact_forward_profile(LAW.mmse, GRID)
    found = measured(GRID[::-1]).profile(GRID)
    np.testing.assert_allclose(found.moments, exact.moments, rtol=1e-12)
    for steps in (3, 8, 20):
        levels = [
            optimal_levels(profile, SOLVERS["sddim"], steps, terminal=terminal, weight=ErrorWeight(exponent))  # type: ignore[arg-type]
            for profile in (exact, found)
        ]
        np.testing.assert_array_equal(*levels)


def test_a_curve_on_other_levels_gives_nearly_the_same_bound() -> None:
    exact = exact_forward_profile(LAW.mmse, GRID)
    coarse = measured(np.geomspace(0.01, 40.0, 25)).profile(GRID)
    pair = [optimal_levels(profile, SOLVERS["sddim"], 10, terminal="sigma_min", weight=ErrorWeight(0.0)) for profile in (exact, coarse)]
    assert LAW.klub(pair[1]) == pytest.approx(LAW.klub(pair[0]), rel=0.01)


def test_a_factor_of_the_loss_changes_no_schedule() -> None:
    sigma = np.geomspace(0.05, 20.0, 30)
    law = line()
    loss = np.array([law.mmse(float(level)) for level in sigma])
    grid = log_grid(20.0, 0.05, 40)
    one, other = (
        optimal_levels(Curve.fitted(sigma, factor * loss).profile(grid), SOLVERS["sddim"], 7, terminal="zero", weight=ErrorWeight(1.0))
        for factor in (1.0, 64.0)
    )
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(
        *(entropic(Curve.fitted(sigma, factor * loss), 7, sigma_max=20.0, sigma_min=0.05, terminal="zero") for factor in (1.0, 64.0))
    )


@pytest.mark.parametrize("c", [0.1, 1.0])
def test_entropic_time_of_a_gaussian_is_the_arctan(c: float) -> None:
    """So it finds the optimum of the paper's Theorem 3.1, of the divergence of Euler's output."""
    law = Gaussian(c, 2, sigma_min=0.01, sigma_max=40.0)
    curve = measured(np.geomspace(0.01, 40.0, 300), law)
    found = entropic(curve, 9, sigma_max=40.0, sigma_min=0.01, terminal="sigma_min")
    np.testing.assert_allclose(found, law.arctan_levels(9), rtol=2e-3)
    to_zero = entropic(curve, 9, sigma_max=40.0, sigma_min=0.01, terminal="zero")
    np.testing.assert_allclose(to_zero[:-1], law.arctan_levels(8), rtol=2e-3)
    assert to_zero[-1] == 0


def test_the_isotonic_fit_is_the_closest_rising_sequence() -> None:
    rng = np.random.default_rng(0)
    values = np.linspace(0, 1, 40) + 0.3 * rng.standard_normal(40)
    fit = isotonic(values)
    assert np.all(np.diff(fit) >= 0)
    error = np.sum((fit - values) ** 2)
    for _ in range(2000):
        other = np.sort(fit + 0.05 * rng.standard_normal(40))
        assert np.sum((other - values) ** 2) > error
    np.testing.assert_array_equal(isotonic(np.array([1.0, 3.0, 2.0, 5.0])), [1.0, 2.5, 2.5, 5.0])


def test_noise_of_the_measurement_hardly_costs_anything() -> None:
    sigma = np.geomspace(0.01, 40.0, 48)
    loss = np.array([LAW.mmse(float(level)) for level in sigma])
    noisy = Curve.fitted(sigma, loss * (1 + 0.05 * np.random.default_rng(1).standard_normal(48)))
    clean = Curve.fitted(sigma, loss)
    bounds = []
    for curve in (clean, noisy):
        levels = optimal_levels(curve.profile(GRID), SOLVERS["sddim"], 10, terminal="sigma_min", weight=ErrorWeight(0.0))
        bounds.append(LAW.klub(levels))
    assert bounds[1] < 1.1 * bounds[0]
