"""Refinement: it pays where errors cancel, never at the cost of the judge, and keeps to the rules of a schedule."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ays.problems import evaluator, flow_profile, forward_profile, plane, spectrum
from tests.ays.refinements import assert_by_the_rules, noises, scattered
from worker.ays.analytic import power_law_gaussian
from worker.ays.choice import Choice
from worker.ays.judge import Errors, gain, surely_better
from worker.ays.ladder import optimal_levels
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.refine import iteration_evaluations, refine, seen
from worker.ays.solvers import SOLVERS, Denoise, Solver, sample
from worker.ays.validate import estimate, hold_out, squared_errors


def run(law, solver: Solver, start: np.ndarray, *, terminal: str = "zero", iterations: int = 3, denoise: Denoise | None = None, **kw):
    search, judge = (noises(law, solver, terminal, stream) for stream in (Stream.SEARCH, Stream.JUDGE))
    given_noises = {"search": search, "judge": judge} | kw
    return refine(
        solver, denoise or law.denoise, start, **given_noises, sigma_max=law.sigma_max, sigma_min=law.sigma_min, iterations=iterations
    ), given_noises


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_the_judge_never_gets_surely_worse_and_the_schedule_stays_one(name: str, terminal: str) -> None:
    law, solver = plane(), SOLVERS[name]
    profile = (forward_profile if solver.stochastic else flow_profile)(law, points=32, paths=4)
    start = optimal_levels(profile, solver, 5, terminal=terminal, choice=Choice(1.8, ratio_bound=2.0))
    found, used = run(law, solver, start, terminal=terminal)
    before = Errors(assert_by_the_rules(found, start, solver, law, used["judge"]))
    assert found.improved == (gain(solver, Errors(found.judged), before, before) is not None)
    assert 1 <= found.iterations <= 3


@settings(deadline=None, derandomize=True, max_examples=10)
@given(interior=st.lists(st.floats(-3.5, 2.5), min_size=3, max_size=5, unique=True))
def test_any_start_will_do(interior: list[float]) -> None:
    law, solver = spectrum(), SOLVERS["dpmpp_2m"]
    start = np.array([20.0, *np.exp(np.sort(interior)[::-1]), 0.0])
    if np.any(np.diff(start) >= 0):
        return
    found, used = run(law, solver, start, iterations=2)
    change = estimate(found.judged - squared_errors(solver, law.denoise, start[None], used["judge"])[0])
    assert change.mean <= change.standard_error
    assert np.all(np.diff(found.levels) < 0)


def test_on_gaussian_data_the_cancelling_optimum_is_found_for_fresh_noises_too() -> None:
    """Signed errors of successive 2M steps cancel there, which a sum of squares cannot see."""
    law, solver = power_law_gaussian(32, sigma_min=0.02, sigma_max=20.0), SOLVERS["dpmpp_2m"]
    start = optimal_levels(flow_profile(law, points=48), solver, 8, terminal="zero", choice=Choice(1.4, ratio_bound=2.0))
    found, _ = run(law, solver, start, iterations=6)
    fresh = noises(law, solver, "zero", Stream.FRESH, 32)
    before, after = (squared_errors(solver, law.denoise, levels[None], fresh).mean() for levels in (start, found.levels))
    assert after < before / 4


def test_a_curved_valley_is_followed_to_its_end() -> None:
    """Where errors cancel, each next iteration must step longer or shorter than a fixed damping would."""
    law, solver = power_law_gaussian(32, sigma_min=0.02, sigma_max=20.0), SOLVERS["dpmpp_2m"]
    start = optimal_levels(flow_profile(law, points=48), solver, 6, terminal="zero", choice=Choice(1.4, ratio_bound=2.0))
    few, many = (run(law, solver, start, iterations=count)[0] for count in (3, 20))
    assert many.judged.mean() < few.judged.mean() / 3
    assert many.judged.mean() < squared_errors(solver, law.denoise, start[None], noises(law, solver, "zero", Stream.JUDGE)).mean() / 50


def test_many_first_order_knots_are_moved_by_few_numbers() -> None:
    law, solver, steps = plane(), SOLVERS["ddim"], 24
    denoise = evaluator(law)
    start = np.append(20.0 * (0.05 / 20.0) ** np.linspace(0, 1, steps) ** 0.5, 0.0)
    found, _ = run(law, solver, start, iterations=1, denoise=denoise, search=noises(law, solver, "zero", Stream.SEARCH, 40))
    assert denoise.evaluations <= steps * 20 + iteration_evaluations(solver, steps, 40, 20)
    assert denoise.evaluations < 0.65 * (steps * 20 + iteration_evaluations(SOLVERS["dpmpp_2m"], steps, 40, 20))
    fresh = noises(law, solver, "zero", Stream.FRESH, 64)
    before, after = (squared_errors(solver, law.denoise, levels[None], fresh).mean() for levels in (start, found.levels))
    assert after < 0.97 * before
    assert len(np.unique(np.round(np.diff(np.log(found.levels[:-1])), 6))) > 8


def test_a_judge_that_prefers_the_start_keeps_the_start() -> None:
    """The judge's reference is what the start itself samples, up to a little: whatever the search likes, it is worse."""
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    judge = noises(law, solver, "zero", Stream.JUDGE)
    judge = replace(judge, reference=sample(solver, law.denoise, start, judge.noise) + 1e-6)
    found, _ = run(law, solver, start, judge=judge)
    assert not found.improved
    assert np.array_equal(found.levels, start)


def test_one_noise_that_gains_much_does_not_outvote_the_others() -> None:
    """The judge's mean falls, by less than its standard error: one noise in twenty gains what the search sees, the others lose a little."""
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    willing, used = run(law, solver, start)
    assert willing.improved
    judge = used["judge"]
    content = sample(solver, law.denoise, start, judge.noise)
    content[0] = judge.reference[0]
    alone = replace(judge, reference=content)
    found, _ = run(law, solver, start, judge=alone)
    before, after = (squared_errors(solver, law.denoise, levels[None], alone)[0] for levels in (start, willing.levels))
    assert before[0] > 0 == before[1:].max()
    assert after[0] < before[0]
    assert np.array_equal(found.levels, start)


def test_a_step_in_doubt_is_gone_on_from_and_kept_only_with_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    law, solver, steps = plane(), SOLVERS["dpmpp_2m"], 6
    start = np.append(20.0 * (0.05 / 20.0) ** np.linspace(0, 1, steps) ** 0.7, 0.0)
    found, used = run(law, solver, start, iterations=8)
    monkeypatch.setattr("worker.ays.refine._DOUBTS", 0)
    stopped, _ = run(law, solver, start, iterations=8)
    assert stopped.iterations < found.iterations
    assert found.judged.mean() < stopped.judged.mean() / 10
    through, _ = run(law, solver, start, iterations=stopped.iterations)
    assert np.array_equal(through.levels, stopped.levels)  # where a doubt comes last, what was sure before is kept
    assert surely_better(solver, found.judged, squared_errors(solver, law.denoise, stopped.levels[None], used["judge"])[0])


def test_each_iteration_sees_the_other_half_of_the_search_noises() -> None:
    """Noises whose every sample is already right cannot ask for a step: where only those are seen, none is found."""
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    search = noises(law, solver, "zero", Stream.SEARCH, 24)
    content = sample(solver, law.denoise, start, search.noise)
    for half, improved in ((slice(12, 24), True), (slice(0, 12), False)):
        reference = search.reference.clone()
        reference[half] = content[half]
        found, _ = run(law, solver, start, search=replace(search, reference=reference), iterations=1)
        assert found.improved == improved
    assert [seen(n) for n in (8, 12, 16, 24, 25, 64)] == [8, 12, 12, 12, 13, 32]


def test_a_few_noises_that_scatter_decide_nothing() -> None:
    """Sixteen noises would like another schedule by far, but their own errors differ so much that they cannot speak for others."""
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    found, _ = run(law, solver, start, judge=scattered(law, solver, start))
    assert found.iterations == 0
    assert np.array_equal(found.levels, start)
    assert run(law, solver, start)[0].improved


def test_a_start_without_any_error_is_kept() -> None:
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    judge = noises(law, solver, "zero", Stream.JUDGE)
    judge = replace(judge, reference=sample(solver, law.denoise, start, judge.noise))
    found, _ = run(law, solver, start, judge=judge)
    assert np.array_equal(found.levels, start)
    assert found.judged.mean() == 0


def test_a_denoiser_that_no_knot_can_change_is_left_alone() -> None:
    """Data at one point: every schedule is exact, there is nothing to differentiate."""

    def constant(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, 0.3)

    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    both = [
        hold_out(
            SOLVERS["ddim"],
            constant,
            (2,),
            levels=log_grid(20.0, 0.05, 16),
            terminal="zero",
            indices=range(4),
            seed=0,
            stream=stream,
        )
        for stream in (Stream.SEARCH, Stream.JUDGE)
    ]
    found = refine(SOLVERS["ddim"], constant, start, search=both[0], judge=both[1], sigma_max=float(start[0]), sigma_min=0.05, iterations=3)
    assert np.array_equal(found.levels, start)


def test_no_level_is_evaluated_outside_the_range_however_much_it_would_help() -> None:
    """The reference knows levels down to 0.05; a last level of 0.3, allowed no lower, wants to go there."""
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.3, 5), 0.0)
    both = {"search": noises(law, solver, "zero", Stream.SEARCH), "judge": noises(law, solver, "zero", Stream.JUDGE)}
    free = refine(solver, law.denoise, start, **both, sigma_max=20.0, sigma_min=0.05, iterations=4)
    assert free.levels[-2] < 0.98 * 0.3
    held = refine(solver, law.denoise, start, **both, sigma_max=20.0, sigma_min=0.3, iterations=4)
    assert held.levels[-2] >= 0.3 * (1 - 1e-12)
    assert held.levels[0] <= 20.0 * (1 + 1e-12)


def test_schedules_without_free_knots_and_no_iterations_change_nothing() -> None:
    law, solver = plane(), SOLVERS["ddim"]
    for start, iterations in ((np.array([20.0, 0.0]), 3), (np.array([20.0, 1.0, 0.0]), 0)):
        found, _ = run(law, solver, start, iterations=iterations)
        assert np.array_equal(found.levels, start)
        assert (found.improved, found.iterations) == (False, 0)


@pytest.mark.parametrize("steps", [3, 6])
def test_the_evaluations_stay_within_the_stated_bound(steps: int) -> None:
    law, solver, denoise = plane(), SOLVERS["dpmpp_2m"], evaluator(plane())
    search, judge = (noises(law, solver, "zero", stream) for stream in (Stream.SEARCH, Stream.JUDGE))
    start = np.append(log_grid(20.0, 0.05, steps), 0.0)
    given_noises = {"search": search, "judge": judge}
    found = refine(solver, denoise, start, **given_noises, sigma_max=float(start[0]), sigma_min=0.05, iterations=4)
    assert denoise.evaluations <= steps * 20 + found.iterations * iteration_evaluations(solver, steps, 20, 20)
