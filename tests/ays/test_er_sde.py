"""ER-SDE between ODE and SDE: how much noise it adds, and along which paths its schedules are found."""

import numpy as np
import pytest

from tests.ays.problems import flow_profile, forward_profile
from worker.ays.analytic import AnisotropicGaussian, GaussianMixture, grid_mixture, power_law_gaussian
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.search.candidates import optimal_levels
from worker.ays.search.reference import solve_reference, squared_errors
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import ER, SDE, SOLVERS


def test_below_sigma_10_it_adds_a_quarter_of_the_noise_of_the_sde_or_less() -> None:
    """Variance over a short step, `phi'^2` times what the clock advances."""
    sigma = np.array([10.0, 1.0, 0.1])
    then = sigma * (1 - 1e-6)
    er, sde = (noise.scale(then) ** 2 * (noise.clock(then) - noise.clock(sigma)) for noise in (ER, SDE))
    assert er / sde == pytest.approx([0.254, 0.064, 0.021], abs=1e-3)


@pytest.mark.parametrize("name", ["er_sde_2", "er_sde_3"])
@pytest.mark.parametrize(("law", "better"), [(power_law_gaussian(64), True), (grid_mixture(), False)], ids=["spectrum", "sharp"])
def test_paths_of_the_ode_decide_schedules_well_unless_modes_are_sharp(
    law: AnisotropicGaussian | GaussianMixture, better: bool, name: str
) -> None:
    solver, levels = SOLVERS[name], log_grid(law.sigma_max, law.sigma_min, 64)
    fresh = solve_reference(solver, law.denoise, law.shape, levels=levels, terminal="zero", indices=range(64), seed=0, stream=Stream.FRESH)
    errors = []
    for profile in (flow_profile(law, points=64, paths=16), forward_profile(law, points=64, paths=16)):
        weights = [ErrorWeight(exponent, ratio_bound=2.0) for exponent in (0.0, 1.0, 1.8, 2.1)]
        found = np.stack([optimal_levels(profile, solver, 8, terminal="zero", weight=weight) for weight in weights])
        errors.append(squared_errors(solver, law.denoise, found, fresh).mean(axis=1).min())
    ratio = errors[0] / errors[1]
    assert ratio < 0.7 if better else ratio > 1.2
