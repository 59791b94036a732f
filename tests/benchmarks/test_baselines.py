"""Baselines against closed forms, exhaustive search and the definitions of their papers."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from ays_client.published import PUBLISHED
from benchmarks.baselines import BASELINES, Problem, direct, dmn, entropic, gits, oss, schedule, score_optimal
from benchmarks.baselines.problem import picked
from benchmarks.baselines.teacher import teacher
from tests.ays.problems import plane, spectrum
from worker.ays.analytic import AnisotropicGaussian, Gaussian, GaussianMixture
from worker.ays.noise import VE, VP, Array, linear_betas
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.schedule import edm
from worker.ays.search.reference import squared_errors
from worker.ays.solvers import SOLVERS, trajectory

LOW, HIGH = 0.02, 20.0


def problem(law: AnisotropicGaussian | GaussianMixture, *, seed: int = 0) -> Problem:
    return Problem(law, process=VE(sigma_min=law.sigma_min, sigma_max=law.sigma_max), data=law.sample_data, seed=seed)


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"direct"}))
def test_every_method_answers_decreasing_levels_within_the_range(name: str) -> None:
    law = plane(sigma_min=LOW, sigma_max=HIGH)
    found = schedule(name, problem(law), 6, SOLVERS["dpmpp_2m"])
    assert found.levels.shape == (7,)
    assert np.all(np.diff(found.levels) < 0)
    assert found.levels[0] == pytest.approx(HIGH)
    assert found.levels[-2] >= LOW * (1 - 1e-9)
    assert found.levels[-1] == 0


@pytest.mark.parametrize("name", ["ays", "gits", "oss", "entropic", "score_optimal"])
def test_the_seed_decides_and_the_order_of_questions_does_not(name: str) -> None:
    law, solver = plane(), SOLVERS["ddim"]
    asked = problem(law)
    schedule("gits", asked, 4, solver)
    again = schedule(name, asked, 5, solver)
    fresh = schedule(name, problem(law), 5, solver)
    assert np.array_equal(again.levels, fresh.levels)
    assert again.evaluations == fresh.evaluations > 0
    assert not np.array_equal(again.levels, schedule(name, problem(law, seed=1), 5, solver).levels)


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 decreasing positive levels"):
        problem(plane()).solve(lambda _problem, _n, _solver: np.array([3.0, 2.0, 2.0, 0.0]), 3, SOLVERS["ddim"])


def test_a_published_table_on_its_own_range_is_itself() -> None:
    levels = PUBLISHED["stable-video-diffusion"].levels
    law = Gaussian(0.5, sigma_min=levels[-1], sigma_max=levels[0])
    found = schedule("published_svd", problem(law), 10, SOLVERS["ddim"]).levels
    assert found == pytest.approx([*levels[:-1], 0.0])


def test_beta_times_are_those_of_a_table_of_timesteps() -> None:
    process = VP(linear_betas())
    law = Gaussian(0.5, sigma_min=process.sigma_min, sigma_max=process.sigma_max)
    found = Problem(law, process=process, data=None, seed=0)
    times = process.time(schedule("beta", found, 4, SOLVERS["ddim"]).levels[:-1])
    # Beta(0.6, 0.6) is symmetric: its median is the middle of the table, and its quantiles mirror each other.
    assert times[2] == pytest.approx(999 / 2)
    assert times[1] + times[3] == pytest.approx(999)
    assert times[1] > 750


def test_entropic_time_of_a_gaussian_is_the_arctangent() -> None:
    """`integral c^2 / (c^2 + s^2) ds = c arctan(s / c)`: the schedule of the paper's Theorem 3.1."""
    law = Gaussian(0.5, sigma_min=LOW, sigma_max=HIGH)
    found = schedule("entropic", problem(Gaussian(0.5, 2000, sigma_min=LOW, sigma_max=HIGH)), 7, SOLVERS["ddim"])
    assert found.levels[:-1] == pytest.approx(law.arctan_levels(7)[:-1], rel=0.03)
    assert found.evaluations == entropic.POINTS * entropic.SAMPLES


def test_score_optimal_lengths_of_a_gaussian() -> None:
    """The score is `-x / (c^2 + s^2)`: length `2 (asinh(s / c) - s / sqrt(c^2 + s^2))` per root of the dimension."""
    c, dim = 0.5, 400
    grid = log_grid(HIGH, LOW, 200)
    lengths = score_optimal.step_lengths(problem(Gaussian(c, dim, sigma_min=LOW, sigma_max=HIGH)), grid)
    exact = 2 * (np.arcsinh(grid / c) - grid / np.sqrt(c**2 + grid**2))
    assert lengths.sum() / np.sqrt(dim) == pytest.approx(exact[0] - exact[-1], rel=0.03)
    middle = 100
    assert lengths[:middle].sum() / lengths.sum() == pytest.approx((exact[0] - exact[middle]) / (exact[0] - exact[-1]), rel=0.02)


def test_ays_keeps_the_sweep_that_the_solver_likes() -> None:
    law = plane()
    asked = problem(law)
    first = schedule("ays", asked, 10, SOLVERS["ddim"])
    noises = direct.training_noises(problem(law, seed=5), SOLVERS["ddim"])
    kept, start = (squared_errors(SOLVERS["ddim"], asked.denoise, levels[None], noises).mean() for levels in (first.levels, _edm(asked)))
    assert kept < start
    assert first.evaluations > 50_000


def _edm(asked: Problem) -> Array:
    return np.append(edm(10, sigma_max=asked.sigma_max, sigma_min=asked.sigma_min, terminal="sigma_min")[:-1], 0.0)


def test_dmn_coefficients_integrate_the_exponential() -> None:
    levels = np.array([10.0, 4.0, 1.0, 0.7, 0.2, 0.05])
    table = dmn.coefficients(levels)
    assert table.sum(axis=1) == pytest.approx(1 / levels[1:] - 1 / levels[:-1])
    lam = -np.log(levels)
    # A step of order 3 is exact for denoisers quadratic in lambda.
    step = slice(2, 4)
    exact = [np.exp(at) * (at**2 - 2 * at + 2) for at in lam[step]]
    assert table[2] @ lam[:-1] ** 2 == pytest.approx(exact[1] - exact[0])


def test_dmn_lowers_its_bound_and_asks_the_model_nothing() -> None:
    asked = problem(plane())
    found = schedule("dmn", asked, 6, SOLVERS["ddim"])
    assert found.evaluations == 0
    start = edm(6, sigma_max=asked.sigma_max, sigma_min=asked.sigma_min, terminal="sigma_min")
    assert dmn.error_bound(np.append(found.levels[:-1], asked.sigma_min)) < 0.9 * dmn.error_bound(start)


def test_gits_path_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    costs = np.where(np.triu(np.ones((8, 8)), 1) > 0, rng.uniform(-0.2, 1.0, (8, 8)), np.inf)

    def total(path: tuple[int, ...]) -> float:
        return float(sum(1.15**k * costs[i, j] for k, (i, j) in enumerate(pairwise(path))))

    for n in (1, 2, 3, 5):
        best = min(((0, *inner, 7) for inner in combinations(range(1, 7), n - 1)), key=total)
        assert tuple(gits.shortest_path(costs, n, decay=1.15)) == best


def test_gits_steps_cost_nothing_where_trajectories_are_straight() -> None:
    isotropic = teacher(problem(Gaussian(0.5, 3, sigma_min=LOW, sigma_max=HIGH)), points=20, count=4)
    bent = teacher(problem(spectrum()), points=20, count=4)
    above = np.triu_indices(21, 1)
    assert np.abs(gits.deviation_costs(isotropic)[above]).max() < 1e-10
    assert gits.deviation_costs(bent)[above].max() > 0.1


def test_oss_finds_the_best_two_steps_of_each_solution() -> None:
    """With two steps the search is exhaustive: the student at the middle level does not depend on how it got there."""
    law = plane()
    levels = log_grid(law.sigma_max, law.sigma_min, 24)
    noise = starting_noise(law.shape, range(5), seed=0, stream=Stream.TRAINING)
    states, estimates = trajectory(SOLVERS["dpmpp_2m"], law.denoise, levels, noise)
    nodes, goals = np.append(levels, 0.0), torch.cat([states, estimates[-1:]])
    paths = oss.optimal_paths(law.denoise, law.shape, nodes, goals, 2)
    for solution in range(5):
        ends = []
        for middle in range(1, 24):
            sigma = torch.from_numpy(nodes)[[0, middle]]
            first = law.denoise(goals[0], sigma[:1].expand(5))
            state = first + sigma[1] / sigma[0] * (goals[0] - first)
            ends.append(law.denoise(state, sigma[1:].expand(5))[solution])
        errors = (torch.stack(ends) - goals[-1, solution]).square().sum(1)
        assert tuple(paths[solution]) == (0, 1 + int(errors.argmin()))


def test_oss_keeps_levels_apart() -> None:
    grid = log_grid(HIGH, LOW, 6)
    assert picked(grid, np.array([0.0, 0.0, 0.0, 4.5])) == pytest.approx([*grid[[0, 1, 2, 4]], 0.0])
    assert picked(grid, np.array([4, 5, 5])) == pytest.approx([*grid[[3, 4, 5]], 0.0])


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m_sde"])
def test_direct_optimization_beats_every_start_on_its_noises(solver: str) -> None:
    asked = problem(spectrum())
    found = schedule("direct", asked, 3, SOLVERS[solver])
    noises = direct.training_noises(asked, SOLVERS[solver])

    def error(levels: Array) -> float:
        return float(squared_errors(SOLVERS[solver], asked.denoise, levels[None], noises).mean())

    others = [schedule(name, asked, 3, SOLVERS[solver]).levels for name in ("edm", "log_snr", "beta", "gits", "oss", "entropic")]
    assert error(found.levels) <= min(error(levels) for levels in others)
    assert found.evaluations > 5_000
