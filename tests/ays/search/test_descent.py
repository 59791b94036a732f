"""The descent: it lowers the error it is given and that of fresh noises, keeps to the rules of a schedule and to its budget."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, flow_profile, plane, spectrum
from worker.ays.analytic import power_law_gaussian
from worker.ays.paths import Stream
from worker.ays.search.candidates import Candidate, optimal_levels
from worker.ays.search.descent import Broyden, Directions, descend, iteration_evaluations, measuring_evaluations
from worker.ays.search.reference import ReferenceSet, deviations, reference_grid, solve_reference, squared_errors
from worker.ays.search.statistics import robust_loss, tail_scale
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import FITTED, SOLVERS, Solver, sample
from worker.ays.solvers.fitted import printed_weights

NAMES = ["ddim", "heun", "dpmpp_2m", "unipc_3", "fitted", "sddim", "dpmpp_2m_sde"]


def drawn(law, solver: Solver, terminal: str = "zero", n: int = 16, stream: Stream = Stream.TRAINING) -> ReferenceSet:
    levels = reference_grid(law.sigma_max, law.sigma_min, 64)
    return solve_reference(solver, law.denoise, law.shape, levels=levels, terminal=terminal, indices=range(n), seed=0, stream=stream)


def start_of(law, solver: Solver, steps: int, terminal: str = "zero", bend: float = 0.8) -> Candidate:
    count = steps if terminal == "zero" else steps + 1
    levels = law.sigma_max * (law.sigma_min / law.sigma_max) ** np.linspace(0, 1, count) ** bend
    levels = np.append(levels, 0.0) if terminal == "zero" else levels
    return Candidate("start", levels, weights=printed_weights(SOLVERS["dpmpp_2m"], levels) if solver.fitted else None)


def run(law, solver: Solver, start: Candidate, references: ReferenceSet, budget: int = 10**6, most: int = 4, denoise=None, sigma_min=None):
    model = denoise or evaluator(law)
    found = descend(
        lambda levels, weights: deviations(solver, model, levels, references, weights),
        start,
        noises=len(references),
        sigma_max=law.sigma_max,
        sigma_min=sigma_min or law.sigma_min,
        left=lambda: budget - model.evaluations,
    )
    return [step for step, _ in zip(found, range(most), strict=False)]


def mean_error(law, solver: Solver, candidate: Candidate, references: ReferenceSet) -> float:
    weights = None if candidate.weights is None else candidate.weights[None]
    return float(squared_errors(solver, law.denoise, candidate.levels[None], references, weights).mean())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_every_step_is_a_better_schedule_within_the_range(name: str, terminal: str) -> None:
    law, solver = plane(), SOLVERS[name]
    references, start = drawn(law, solver, terminal), start_of(law, solver, 5, terminal)
    weights = None if start.weights is None else start.weights[None]
    before = squared_errors(solver, law.denoise, start.levels[None], references, weights)[0]
    steps = run(law, solver, start, references)
    assert steps
    for candidate, errors in steps:
        own = None if candidate.weights is None else candidate.weights[None]
        assert errors == pytest.approx(squared_errors(solver, law.denoise, candidate.levels[None], references, own)[0], rel=1e-9)
        scale = tail_scale(before)
        assert robust_loss(errors, scale).mean() < robust_loss(before, scale).mean()
        before = errors
        assert np.all(np.diff(candidate.levels) < 0)
        assert candidate.levels[-1] == start.levels[-1]
        assert candidate.levels[:-1].min() >= law.sigma_min * (1 - 1e-9)
        assert candidate.levels[0] <= law.sigma_max * (1 + 1e-12)
        if candidate.weights is not None:
            assert candidate.weights.sum(axis=1) == pytest.approx(np.ones(5), rel=1e-9)


def test_on_gaussian_data_the_cancelling_optimum_is_found_for_fresh_noises_too() -> None:
    """Signed errors of successive 2M steps cancel there, which a sum of squares cannot see."""
    law, solver = power_law_gaussian(32, sigma_min=0.02, sigma_max=20.0), SOLVERS["dpmpp_2m"]
    levels = optimal_levels(flow_profile(law, points=48), solver, 6, terminal="zero", weight=ErrorWeight(1.4, ratio_bound=2.0))
    fresh, start = drawn(law, solver, n=32, stream=Stream.FRESH), Candidate("start", levels)
    found = run(law, solver, start, drawn(law, solver), most=20)[-1][0]
    assert mean_error(law, solver, found, fresh) < mean_error(law, solver, start, fresh) / 10


def test_levels_and_weights_together_end_lower_than_levels_alone() -> None:
    law, errors = plane(), []
    fresh = drawn(law, FITTED, n=128, stream=Stream.FRESH)
    for name in ("dpmpp_2m", "fitted"):
        solver = SOLVERS[name]
        found = run(law, solver, start_of(law, solver, 6), drawn(law, solver, n=48), most=12)[-1][0]
        errors.append(mean_error(law, solver, found, fresh))
    assert errors[1] < 0.8 * errors[0]


def test_a_noise_in_another_mode_does_not_steer_the_fit() -> None:
    """One of 24 noises ends far from its reference whatever the schedule; the others gain as if it were not there."""
    law, solver = spectrum(), SOLVERS["dpmpp_2m"]
    start, references = start_of(law, solver, 6), drawn(law, solver, n=24)
    ends = references.reference.clone()
    ends[0] += 100.0
    fresh = drawn(law, solver, n=64, stream=Stream.FRESH)
    for given in (references, replace(references, reference=ends)):
        found = run(law, solver, start, given, most=8)[-1][0]
        assert mean_error(law, solver, found, fresh) < mean_error(law, solver, start, fresh) / 4


def test_no_level_is_evaluated_outside_the_range_however_much_it_would_help() -> None:
    law, solver = plane(), SOLVERS["ddim"]
    start = Candidate("start", np.append(20.0 * (0.3 / 20.0) ** np.linspace(0, 1, 5), 0.0))
    references = drawn(law, solver)
    assert run(law, solver, start, references)[-1][0].levels[-2] < 0.98 * 0.3
    assert run(law, solver, start, references, sigma_min=0.3)[-1][0].levels[-2] >= 0.3 * (1 - 1e-12)


@pytest.mark.parametrize("name", ["dpmpp_2m", "fitted"])
def test_the_evaluations_stay_within_the_budget_and_none_are_spent_where_it_does_not_do(name: str) -> None:
    law, solver = plane(), SOLVERS[name]
    start, references = start_of(law, solver, 6), drawn(law, solver, n=8)
    first = 8 * (6 + measuring_evaluations(start))
    for budget in (8 * 6, first + 1, first + 3 * 8 * iteration_evaluations(start)):
        denoise = evaluator(law)
        found = run(law, solver, start, references, budget=budget, most=50, denoise=denoise)
        assert denoise.evaluations <= max(budget, 8 * 6)
        assert bool(found) == (budget >= first)


def test_nothing_is_found_where_nothing_can_be_better() -> None:
    law, solver = plane(), SOLVERS["ddim"]
    start, references = start_of(law, solver, 5), drawn(law, solver)
    exact = replace(references, reference=sample(solver, law.denoise, start.levels, references.noise))
    assert run(law, solver, start, exact) == []
    assert run(law, solver, Candidate("one", np.array([20.0, 0.0])), references) == []


@pytest.mark.parametrize("name", ["dpmpp_2m", "fitted"])
def test_the_directions_are_the_derivatives_of_the_sampler(name: str) -> None:
    """The measured Jacobian foretells a small move in every direction at once."""
    law, solver = plane(), SOLVERS[name]
    start, references = start_of(law, solver, 5), drawn(law, solver, n=6)
    directions = Directions.of(start)
    run_at = lambda levels, weights: deviations(solver, law.denoise, levels, references, weights)  # noqa: E731
    here = run_at(start.levels[None], None if start.weights is None else start.weights[None])[0]
    jacobian = Broyden(run_at, start, here, directions, 1e-4).jacobian()
    step = 1e-4 * np.random.default_rng(0).standard_normal(len(directions.units))
    levels = start.levels.copy()
    levels[:-1] *= np.exp(step @ directions.log_levels)
    weights = None if start.weights is None else (start.weights + np.tensordot(step, directions.weights, axes=1))[None]
    change = run_at(levels[None], weights)[0] - here
    foretold = torch.einsum("f,fnd->nd", torch.from_numpy(step), jacobian)
    assert float((change - foretold).norm() / change.norm()) < 0.01


def test_what_a_step_changed_is_reproduced_and_directions_across_it_are_kept() -> None:
    """The secant condition, in the metric of the directions' units."""
    law, solver = plane(), FITTED
    start, references = start_of(law, solver, 5), drawn(law, solver, n=6)
    directions = Directions.of(start)
    run_at = lambda levels, weights: deviations(solver, law.denoise, levels, references, weights)  # noqa: E731
    here = run_at(start.levels[None], start.weights[None])[0]
    learnt = Broyden(run_at, start, here, directions, 0.1)
    before = learnt.jacobian().clone()
    rng = np.random.default_rng(0)
    step, across = rng.standard_normal((2, len(directions.units)))
    across -= step * (across @ (step / directions.units**2)) / (step @ (step / directions.units**2))
    change = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    learnt.observe(step, change)
    along = lambda jacobian, by: torch.einsum("f,fnd->nd", torch.from_numpy(by), jacobian)  # noqa: E731
    torch.testing.assert_close(along(learnt.jacobian(), step), change)
    torch.testing.assert_close(along(learnt.jacobian(), across), along(before, across))
    learnt.observe(np.zeros_like(step), change)
    torch.testing.assert_close(along(learnt.jacobian(), step), change)
