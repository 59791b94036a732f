"""How far a profile is trusted: standard errors that come true, a regret that falls with the paths, contradictions that are real."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, flow_profile, forward_profile, line, plane, spectrum
from worker.ays.paths import Stream, data_generator
from worker.ays.profile.profile import log_grid, measure_forward, merge
from worker.ays.search.candidates import optimal_levels
from worker.ays.search.stability import STABLE, Contradiction, contradictions, cost_of, regret, trust
from worker.ays.search.weight import default_weight
from worker.ays.solvers import SOLVERS

LAW = spectrum()


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "sddim"])
def test_the_standard_error_of_a_cost_is_its_scatter_from_seed_to_seed(name: str) -> None:
    solver = SOLVERS[name]
    profile_of = forward_profile if solver.measure == "forward" else flow_profile
    profiles = [profile_of(LAW, points=24, paths=16, seed=seed) for seed in range(24)]
    weight = default_weight(profiles[0], solver)
    levels = optimal_levels(profiles[0], solver, 6, terminal="zero", weight=weight)
    found = [cost_of(profile, solver, weight, levels) for profile in profiles]
    scatter = float(np.std([mean.mean for mean in found], ddof=1))
    stated = float(np.sqrt(np.mean([mean.standard_error**2 for mean in found])))
    assert 0.6 < stated / scatter < 1.6


def test_more_paths_mean_less_regret() -> None:
    solver = SOLVERS["sddim"]
    few, many = (forward_profile(plane(), points=24, paths=paths) for paths in (8, 256))
    weight = default_weight(many, solver)
    regrets = [regret(profile, solver, weight, 6, to_zero=True) for profile in (few, many)]
    assert 0 <= regrets[1] < regrets[0]
    assert trust(many, solver, weight, optimal_levels(many, solver, 6, terminal="zero", weight=weight)).stable == (regrets[1] <= STABLE)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "dpmpp_3m", "heun"])
@pytest.mark.parametrize("to_zero", [True, False], ids=["zero", "sigma_min"])
def test_equal_halves_have_no_regret(name: str, to_zero: bool) -> None:
    profile = flow_profile(LAW, points=16, paths=4)
    same = replace(profile, groups=np.concatenate([profile.groups] * 2))
    assert regret(same, SOLVERS[name], default_weight(profile, SOLVERS[name]), 4, to_zero=to_zero) == pytest.approx(0, abs=1e-9)


def test_a_single_group_says_that_it_cannot_say() -> None:
    profile, solver = flow_profile(LAW, points=16, paths=3), SOLVERS["ddim"]
    weight = default_weight(profile, solver)
    found = trust(profile, solver, weight, optimal_levels(profile, solver, 4, terminal="zero", weight=weight))
    assert math.isinf(found.cost.standard_error)
    assert math.isinf(found.regret)
    assert not found.stable
    assert regret(flow_profile(LAW, points=16, paths=8), solver, weight, 40, to_zero=True) == 0  # no schedule, nothing to regret


def profile_of(law, denoise) -> object:
    levels = log_grid(law.sigma_max, law.sigma_min, 48)
    data = torch.cat([law.sample_data(1, data_generator(i, seed=0, stream=Stream.PROFILE)) for i in range(64)])
    return merge([measure_forward(denoise, data, levels, range(64), seed=0)])


@pytest.mark.parametrize("law", [line(), plane(), spectrum()], ids=["line", "plane", "spectrum"])
def test_an_exact_denoiser_contradicts_itself_nowhere(law) -> None:
    assert contradictions(profile_of(law, evaluator(law))) == []


def test_a_network_that_drifts_at_the_top_is_named_with_its_range() -> None:
    law = spectrum()

    def drifting(x: torch.Tensor, sigma: torch.Tensor, _: object = None) -> torch.Tensor:
        excess = (sigma / 4).clamp(min=1).log().reshape(-1, 1)
        return law.denoise(x, sigma) + 2 * excess

    (found,) = contradictions(profile_of(law, drifting))
    assert found.sigma_max == pytest.approx(law.sigma_max)
    assert 0.5 < found.sigma_min < 8


def test_contradictions_of_the_ode_are_not_looked_for() -> None:
    assert contradictions(flow_profile(LAW, points=16, paths=4)) == []
    assert Contradiction(1.0, 2.0) == Contradiction(sigma_min=1.0, sigma_max=2.0)
