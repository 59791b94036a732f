"""Refinement on a learnt denoiser: further for the same evaluations, by the same judge, and never outside the rules."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, flow_profile, plane, spectrum
from tests.ays.refinements import assert_by_the_rules, noises, scattered
from worker.ays.analytic import GaussianMixture, power_law_gaussian
from worker.ays.choice import Choice
from worker.ays.ladder import optimal_levels
from worker.ays.least_squares import blend, largest_move, loss, shaken
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.refine import Refined, refine
from worker.ays.solvers import SOLVERS, Solver, sample
from worker.ays.surrogate import Surrogate
from worker.ays.trust_region import descend, learnable, opening_evaluations
from worker.ays.validate import HeldOut, squared_errors

DETERMINISTIC = [name for name, solver in SOLVERS.items() if not solver.stochastic]


def run(law, solver: Solver, start: Array, *, terminal: str = "zero", iterations: int = 6, denoise=None, **kw) -> tuple[Refined, HeldOut]:
    search, judge = (kw.get(name) or noises(law, solver, terminal, Stream[name.upper()], 24) for name in ("search", "judge"))
    found = descend(
        solver,
        denoise or law.denoise,
        start,
        surrogate=Surrogate(search),
        search=search,
        judge=judge,
        sigma_max=law.sigma_max,
        sigma_min=law.sigma_min,
        iterations=iterations,
    )
    return found, judge


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_the_judge_never_gets_surely_worse_and_the_schedule_stays_one(name: str, terminal: str) -> None:
    law, solver = plane(), SOLVERS[name]
    start = optimal_levels(flow_profile(law, points=32, paths=4), solver, 5, terminal=terminal, choice=Choice(1.8, ratio_bound=2.0))
    found, judge = run(law, solver, start, terminal=terminal)
    assert_by_the_rules(found, start, solver, law, judge)
    assert 0 <= found.iterations <= 6


@pytest.mark.parametrize(("name", "steps"), [("dpmpp_2m", 5), ("ddim", 5)])
def test_it_ends_lower_than_derivatives_of_the_model_at_fewer_evaluations(name: str, steps: int) -> None:
    """On fresh noises of the mixture, from the same starts, judged alike."""
    law, solver = plane(), SOLVERS[name]
    search, judge, fresh = (noises(law, solver, "zero", *drawn) for drawn in ((Stream.SEARCH, 40), (Stream.JUDGE, 40), (Stream.FRESH, 256)))
    given = {"search": search, "judge": judge, "sigma_max": law.sigma_max, "sigma_min": law.sigma_min}
    asked, learnt, ratios = evaluator(law), evaluator(law), []
    for bend in (0.5, 0.7, 1.0):
        start = np.append(20.0 * (0.05 / 20.0) ** np.linspace(0, 1, steps) ** bend, 0.0)
        old = refine(solver, asked, start, **given, iterations=4)
        new = descend(solver, learnt, start, **given, surrogate=Surrogate(search), iterations=12)
        before, slow, fast = (squared_errors(solver, law.denoise, each[None], fresh).mean() for each in (start, old.levels, new.levels))
        assert fast < 0.5 * before
        ratios.append(fast / slow)
    assert np.exp(np.log(ratios).mean()) < 0.9
    assert learnt.evaluations < 0.9 * asked.evaluations


def test_a_curved_valley_is_followed_to_its_end() -> None:
    law, solver = power_law_gaussian(32, sigma_min=0.02, sigma_max=20.0), SOLVERS["dpmpp_2m"]
    start = optimal_levels(flow_profile(law, points=48), solver, 6, terminal="zero", choice=Choice(1.4, ratio_bound=2.0))
    found, judge = run(law, solver, start, iterations=20)
    assert found.judged.mean() < squared_errors(solver, law.denoise, start[None], judge).mean() / 50


def test_the_evaluations_are_those_that_are_planned() -> None:
    law, solver, steps = plane(), SOLVERS["dpmpp_2m"], 6
    denoise, start = evaluator(law), np.append(log_grid(20.0, 0.05, steps), 0.0)
    found, _ = run(law, solver, start, denoise=denoise)
    assert found.iterations >= 2
    assert denoise.evaluations <= 24 * (opening_evaluations(solver, steps) + steps + 2 * found.iterations * steps)


def test_a_judge_that_prefers_the_start_keeps_the_start() -> None:
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    judge = noises(law, solver, "zero", Stream.JUDGE, 24)
    judge = replace(judge, reference=sample(solver, law.denoise, start, judge.noise) + 1e-6)
    found, _ = run(law, solver, start, judge=judge)
    assert found.iterations > 0
    assert not found.improved
    assert np.array_equal(found.levels, start)


def test_no_level_is_evaluated_outside_the_range_however_much_it_would_help() -> None:
    law, solver = plane(), SOLVERS["ddim"]
    seen: list[tuple[float, float]] = []

    def narrow(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append((float(sigma.min()), float(sigma.max())))
        return law.denoise(x, sigma)

    run(law, solver, np.append(log_grid(20.0, 0.05, 5), 0.0), denoise=narrow)
    assert min(low for low, _ in seen) >= 0.05 * (1 - 1e-12)
    assert max(high for _, high in seen) <= 20.0 * (1 + 1e-12)


def test_nothing_changes_where_nothing_can() -> None:
    """No free knot, no iteration; few noises that scatter; a start without error; data at one point."""
    law, solver = plane(), SOLVERS["ddim"]
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    assert run(law, solver, np.array([20.0, 0.0]))[0].iterations == 0
    assert run(law, solver, start, iterations=0)[0].iterations == 0
    assert run(law, solver, start, judge=scattered(law, solver, start))[0].iterations == 0
    search = noises(law, solver, "zero", Stream.SEARCH, 24)
    exact = replace(search, reference=sample(solver, law.denoise, start, search.noise))
    assert not run(law, solver, start, search=exact)[0].improved
    point = GaussianMixture(torch.tensor([[0.3, 0.3]]), torch.tensor([1e-9]), torch.ones(1), sigma_min=0.05, sigma_max=20.0)
    assert not run(point, solver, start)[0].improved


def test_a_noise_in_another_mode_does_not_steer_the_fit() -> None:
    """One of 24 noises ends far from its reference whatever the schedule; the others gain as if it were not there."""
    law, solver = spectrum(), SOLVERS["dpmpp_2m"]
    start = np.append(20.0 * (0.02 / 20.0) ** np.linspace(0, 1, 6) ** 0.8, 0.0)
    search = noises(law, solver, "zero", Stream.SEARCH, 24)
    alone, judge = run(law, solver, start, search=search)
    reference = search.reference.clone()
    reference[0] += 100.0
    beside, _ = run(law, solver, start, search=replace(search, reference=reference))
    before = squared_errors(solver, law.denoise, start[None], judge).mean()
    assert alone.judged.mean() < before / 4
    assert beside.judged.mean() < before / 4


def test_the_loss_counts_the_tail_less_and_less() -> None:
    errors = np.array([0.0, 1.0, 100.0])
    assert loss(errors, np.inf) == errors.mean()
    assert loss(errors, 1e9) == pytest.approx(errors.mean(), rel=1e-6)
    assert loss(errors, 1.0) == pytest.approx((np.log(2) + np.log(101)) / 3)
    assert loss(np.stack([errors, 2 * errors]), 5.0).shape == (2,)


def test_the_first_lesson_moves_every_knot_and_keeps_to_the_range() -> None:
    start = np.append(log_grid(20.0, 0.05, 7), 0.0)
    found = shaken(SOLVERS["dpmpp_2m"], start, count=3, part=0.3, sigma_max=20.0, sigma_min=0.05)
    assert found.shape == (3, 8)
    assert np.all(np.diff(found, axis=1) < 0)
    assert found[:, :-1].min() >= 0.05 * (1 - 1e-12)
    assert found.max() <= 20.0 * (1 + 1e-12)
    moves = np.log(found[:, 1:-2] / start[1:-2]) / np.log(start[:-3] / start[1:-2])
    assert np.abs(moves) == pytest.approx(np.full(moves.shape, 0.3), rel=1e-9)
    assert len(np.unique(np.sign(moves), axis=0)) == 3


def test_a_part_of_a_move_is_that_part_of_its_length() -> None:
    start = np.append(log_grid(20.0, 0.05, 5), 0.0)
    end = start * np.array([1.0, 1.2, 0.9, 1.0, 1.05, 1.0])
    whole = largest_move(start, end)
    assert whole == pytest.approx(np.log(1.2) / np.log(start[0] / start[1]))
    assert largest_move(start, blend(start, end, 0.3)) == pytest.approx(0.3 * whole)


def test_large_samples_are_learnt_along_fewer_noises_and_videos_not_at_all() -> None:
    images, large, videos = 4 * 64 * 64, 4 * 128 * 128, 16 * 21 * 90 * 160
    assert learnable(images, grid=64) >= 40
    assert 8 <= learnable(large, grid=64) < 20
    assert learnable(videos, grid=64) == 0
