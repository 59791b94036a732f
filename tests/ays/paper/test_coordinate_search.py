"""Algorithm 1 of the paper: fixed points, the U-curve that early stopping is there for, subdivision."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator
from worker.ays.analytic import Gaussian
from worker.ays.noise import Array
from worker.ays.paper.coordinate_search import Klub, Neighbourhood, best, descend, optimize_midpoints, stop_early, subdivide, sweep
from worker.ays.paper.importance_sampling import GaussianProposal
from worker.ays.paper.klub_estimator import KlubEstimates, KlubEstimator
from worker.ays.schedule import edm

NARROW = Neighbourhood(candidates=11, width=0.5)


def exact(law: Gaussian) -> Klub:
    """The objective without sampling noise."""

    def klub(low: float, mid: Array, high: float) -> KlubEstimates:
        return KlubEstimates(np.array([law.klub(np.array([high, m, low])) for m in mid]), np.zeros(len(mid)))

    return klub


def start(law: Gaussian, steps: int = 10) -> Array:
    return edm(steps, sigma_max=law.sigma_max, sigma_min=law.sigma_min, terminal="sigma_min")


def stochastic_kl(law: Gaussian, levels: Array) -> float:
    """KL from the true law at the last level to that of stochastic DDIM, from the variance recursion of the sampler."""
    variance = levels[0] ** 2  # of the state, that starts from pure noise
    for now, then in pairwise(levels):
        ratio = (then / now) ** 2
        shrink = law.c**2 / (law.c**2 + now**2)
        variance = (ratio + (1 - ratio) * shrink) ** 2 * variance + then**2 * (1 - ratio)
    quotient = (law.c**2 + levels[-1] ** 2) / variance
    return 0.5 * (quotient - 1 - np.log(quotient))


def test_candidates_lie_strictly_between_the_neighbours_and_keep_the_knot_first() -> None:
    for width in (0.1, 1.0):
        candidates = Neighbourhood(11, width).around(0.002, 0.5, 80.0)
        assert len(set(candidates)) == 11
        assert candidates[0] == 0.5
        assert candidates.min() > 0.002
        assert candidates.max() < 80.0
    near = np.sort(np.log(Neighbourhood(5, 0.3).around(0.1, 1.0, 10.0)))
    np.testing.assert_allclose(np.diff(near), 0.1 * np.log(10.0))


def test_the_exact_descent_ends_at_the_fixed_point_of_every_knot() -> None:
    law = Gaussian(0.5)
    fine = Neighbourhood(21, 0.3)
    *_, levels = descend(exact(law), start(law, 6), fine)
    for above, knot, below in zip(levels[:-2], levels[1:-1], levels[2:], strict=True):
        spacing = 0.3 / 11 * np.log(above / below)
        assert abs(np.log(knot / law.klub_fixed_point(above, below))) < spacing


def test_the_bound_falls_with_every_sweep_while_the_output_gets_worse_again() -> None:
    """The paper's Appendix A.3: why the search must be stopped early."""
    law = Gaussian(0.5)
    levels = start(law)
    schedules = [levels, *descend(exact(law), levels, Neighbourhood())]
    bounds = [law.klub(levels) for levels in schedules]
    divergences = [stochastic_kl(law, levels) for levels in schedules]
    assert np.all(np.diff(bounds) < 0)
    turn = int(np.argmin(divergences))
    assert 2 <= turn <= 6
    assert divergences[turn] < 0.25 * divergences[0]
    assert divergences[-1] > 3 * divergences[turn], "converged, it is hardly better than where it began"


def test_the_sampled_descent_follows_the_exact_one() -> None:
    law = Gaussian(0.5, 4)
    x_0 = law.sample_data(256, torch.Generator().manual_seed(1))
    klub = KlubEstimator(evaluator(law), x_0, proposal=GaussianProposal(0.5), seed=3)
    levels, wanted = start(law), start(law)
    for _ in range(3):
        levels, wanted = sweep(klub, levels, range(1, 10), NARROW), sweep(exact(law), wanted, range(1, 10), NARROW)
    gap = np.log(wanted[0] / wanted[-1]) / 10
    assert np.abs(np.log(levels / wanted)).max() < 0.3 * gap
    assert law.klub(levels) < 0.45 * law.klub(start(law))


def test_the_judge_decides_when_to_stop_and_what_to_keep() -> None:
    errors = iter([5.0, 4.0, 3.0, 3.5, 3.2, 2.0, 1.0])
    schedules = (np.array([float(i + 2), 1.0]) for i in range(100))

    def judge(_: Array) -> Array:
        return np.array([next(errors)])

    record = stop_early(schedules, np.array([1.5, 1.0]), judge, sweeps=50, patience=2)
    assert [entry.judged[0] for entry in record] == [5.0, 4.0, 3.0, 3.5, 3.2]
    assert best(record) == 2
    np.testing.assert_array_equal(record[2].levels, [3.0, 1.0])


@pytest.mark.parametrize("sweeps", [0, 3])
def test_no_more_sweeps_than_allowed_and_never_more_than_change_something(sweeps: int) -> None:
    def judge(levels: Array) -> Array:
        return np.array([-float(levels[0])])

    record = stop_early((np.array([float(i), 0.5]) for i in range(2)), np.array([1.0]), judge, sweeps=sweeps, patience=9)
    assert len(record) == 1 + min(sweeps, 2)


def test_midpoints_are_inserted_and_optimized_while_the_old_knots_stay() -> None:
    law = Gaussian(1.0)
    coarse = np.geomspace(10.0, 0.05, 5)
    fine = subdivide(coarse)
    np.testing.assert_allclose(fine, np.geomspace(10.0, 0.05, 9))
    found = optimize_midpoints(exact(law), fine, Neighbourhood(31, 0.2), sweeps=20)
    np.testing.assert_array_equal(found[::2], coarse)
    fixed = [law.klub_fixed_point(above, below) for above, below in pairwise(coarse)]
    np.testing.assert_allclose(found[1::2], fixed, rtol=0.02)
    assert law.klub(found) < law.klub(fine) < law.klub(coarse)
