"""Starting below sigma_max: what it costs, what the best start makes of that, and how the weight forgets."""

import itertools
import math

import numpy as np
import pytest
import torch

from tests.ays.problems import FIXED, flow_profile, forward_profile, line, plane, spectrum
from worker.ays.analytic import AnisotropicGaussian, Gaussian
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.cost import StepCost, tabulate
from worker.ays.profile.profile import Profile, data_mean, log_grid, measure_flow, merge
from worker.ays.search.shortest_path import coordinate_descent, solve
from worker.ays.search.weight import ErrorWeight, default_weight, halfway, weight_grid
from worker.ays.solvers import SDE, SOLVERS, trajectory

LAW = plane()
PROFILES = {"flow": flow_profile(LAW, points=14, paths=6), "forward": forward_profile(LAW, points=14, paths=6)}
solvers = pytest.mark.parametrize("solver", FIXED.values(), ids=FIXED)


def test_the_mean_moments_are_those_of_the_mean_in_place_of_the_denoiser() -> None:
    """Path by path; the mean is that of D at the top over the first sixteen paths, whichever are measured."""
    levels = log_grid(20.0, 0.05, 6)
    noise = starting_noise(LAW.shape, range(20), seed=0, stream=Stream.PROFILE)
    _, d = trajectory(SOLVERS["unipc_3"], LAW.denoise, levels, noise)
    mean = LAW.denoise(20.0 * noise[:16], torch.full((16,), 20.0, dtype=torch.float64)).mean(0)
    missed = (mean - d[-1])[3:]
    expected = [float(((d[g] - d[-1])[3:] * missed).sum(1).mean()) for g in range(6)] + [float(missed.square().sum(1).mean())]
    found = merge([measure_flow(LAW.denoise, LAW.shape, levels, range(3, 20), seed=0)[0]])
    assert found.mean_moments == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_mean_of_the_data_is_read_off_the_top() -> None:
    """Within four standard errors of D there, and its bias: at 20 a denoiser of this law is off by some hundredths."""
    found = torch.stack([data_mean(LAW.denoise, LAW.shape, 20.0, seed=seed) for seed in range(30)])
    true = LAW.weights @ LAW.means
    assert ((found.mean(0) - true).abs() < 4 * found.std(0) / 30**0.5 + 0.01).all()
    assert found.std(0).max() < 0.1


@solvers
def test_a_start_costs_nothing_at_the_top_and_more_the_lower_it_is(solver) -> None:
    profile = PROFILES[solver.measure]
    start = StepCost(profile, solver, exponent=1.8, cutoff=2.0).start(np.arange(14))
    assert start[0] == 0
    assert np.all(start >= 0)
    assert start[-1] > start[7] > start[2]


@pytest.mark.parametrize("name", ["ddim", "sddim"])
def test_a_start_costs_what_a_step_with_the_mean_does(name: str) -> None:
    """Moments of a Gaussian, where D at a huge sigma is the mean: the start costs what the first-order step from there does."""
    law, levels = AnisotropicGaussian(torch.tensor([0.25, 1.0]), sigma_min=0.05, sigma_max=1e4), log_grid(1e4, 0.05, 40)
    solver = SOLVERS[name]
    profile = (flow_profile if solver.measure == "flow" else forward_profile)(law, points=40, paths=400)
    assert profile.levels == pytest.approx(levels)
    cost, j = StepCost(profile, solver, exponent=1.8), np.arange(5, 40)
    assert cost.start(j) == pytest.approx(cost(np.zeros(35, dtype=int), j), rel=0.05, abs=0.01)


@pytest.mark.parametrize("solver", [solver for solver in FIXED.values() if solver.history <= 2], ids=lambda solver: solver.name)
@pytest.mark.parametrize("to_zero", [True, False], ids=["zero", "sigma_min"])
def test_the_best_start_is_that_of_brute_force(solver, to_zero: bool) -> None:
    profile = Profile("flow", *(PROFILES[solver.measure].__dict__[key] for key in ("levels", "moments", "standard_errors")), 6, 0)
    cost = StepCost(profile, solver, exponent=1.8, cutoff=1.0)
    solution = solve(tabulate(cost), steps_max=3, to_zero=to_zero)
    last = () if to_zero else (13,)
    schedules = [np.array([*knots, *last]) for knots in itertools.combinations(range(14 if to_zero else 13), 3)]
    totals = [float(cost.total(knots, to_zero=to_zero)) for knots in schedules]
    received = solution.knots(3)
    assert float(cost.total(received, to_zero=to_zero)) == pytest.approx(min(totals), rel=1e-9)


def test_the_descent_moves_the_start() -> None:
    cost = StepCost(PROFILES["flow"], SOLVERS["ddim"], exponent=1.8, cutoff=1.0)
    (moved,) = coordinate_descent(cost, [np.array([0, 6, 9, 11])], to_zero=True)
    assert moved[0] > 0
    assert float(cost.total(moved, to_zero=True)) < float(cost.total(np.array([0, 6, 9, 11]), to_zero=True))


@pytest.mark.parametrize("c", [0.3, 1.0])
def test_the_weight_with_its_cutoff_is_how_a_gaussian_passes_an_error_on(c: float) -> None:
    """An error e in x at sigma ends as `e w(sigma)^(1/2) / sigma`, with p = 2 and the cutoff at c: from the exact flow."""
    law = Gaussian(c, 1, sigma_min=1e-4, sigma_max=20.0)
    levels = log_grid(20.0, 1e-4, 30)
    cost = StepCost(flow_profile(law, points=30, paths=2), SOLVERS["ddim"], exponent=2.0, cutoff=c)
    x = torch.ones(1, 1, dtype=torch.float64)
    passed = [float((law.flow(x * 1.1, s, 1e-4) - law.flow(x, s, 1e-4)) / 0.1) ** 2 for s in levels.tolist()]
    # `_scale` turns squared errors in x into costs; it is what every entry of (F) is multiplied with.
    assert cost._scale(np.arange(30)) == pytest.approx(np.array(passed), rel=1e-6)


def test_a_cutoff_far_above_leaves_the_power_and_one_far_below_the_constant() -> None:
    profile, knots = PROFILES["flow"], np.array([0, 4, 8, 13])
    power, high, low = (StepCost(profile, SOLVERS["ddim"], exponent=1.4, cutoff=cutoff) for cutoff in (math.inf, 1e9, 1e-9))
    assert float(high.total(knots, to_zero=True)) == pytest.approx(float(power.total(knots, to_zero=True)), rel=1e-9)
    flat = StepCost(profile, SOLVERS["ddim"], exponent=0.0)
    ratio = float(low.total(knots, to_zero=True)) / float(flat.total(knots, to_zero=True))
    assert ratio == pytest.approx(1e-9**1.4, rel=1e-6)


def test_half_of_the_loss_of_a_gaussian_is_gone_at_its_scale() -> None:
    profile = forward_profile(spectrum(), points=60, paths=200)
    loss = np.diag(profile.moments)
    level = halfway(profile)
    index = int(np.flatnonzero(profile.levels == level)[0])
    assert loss[index] <= loss[0] / 2 < loss[index - 1]
    scaled = Profile("forward", profile.levels * 7, profile.moments * 49, profile.standard_errors, 1, 0)
    assert halfway(scaled) == pytest.approx(7 * level)


@solvers
def test_weights_are_distinct_and_scale_with_the_data(solver) -> None:
    profile = PROFILES[solver.measure]
    found = weight_grid(profile, solver)
    assert found[0] == default_weight(profile, solver)
    assert len(set(found)) == len(found)
    assert any(weight.exponent == 0 for weight in found)
    scaled = Profile(profile.measure, profile.levels * 3, profile.moments * 9, profile.standard_errors, 1, 0)
    expected = [ErrorWeight(weight.exponent, weight.cutoff * 3, weight.ratio_bound) for weight in found]
    for one, other in zip(weight_grid(scaled, solver), expected, strict=True):
        assert (one.exponent, one.ratio_bound) == (other.exponent, other.ratio_bound)
        assert one.cutoff == pytest.approx(other.cutoff)


def test_a_curve_alone_starts_where_its_top_says() -> None:
    """Without measured moments of the mean the highest level stands for it."""
    law = line()
    levels = log_grid(20.0, 0.05, 24)
    loss = np.array([law.mmse(float(level)) for level in levels])
    moments = loss[np.maximum.outer(np.arange(24), np.arange(24))]
    cost = StepCost(Profile("forward", levels, moments, np.zeros_like(moments), 1, 0), SOLVERS["sddim"], exponent=1.8)
    assert cost.solver.noise is SDE
    j = np.arange(1, 24)
    assert cost.start(j) == pytest.approx(cost(np.zeros(23, dtype=int), j), rel=1e-9)
