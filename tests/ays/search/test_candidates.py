"""The ladder's candidates and the race: never without a stock schedule, never a duplicate, always the measured best."""

from dataclasses import replace

import numpy as np
import pytest

from tests.ays.problems import FIXED, evaluator, flow_profile, forward_profile, plane
from worker.ays.search.weight import ErrorWeight, default_weight
from worker.ays.search.candidates import Candidate, fineness, heat, ladder, off_grid, optimal_levels, race
from worker.ays.noise import VE
from worker.ays.search.shortest_path import solve
from worker.ays.paths import Stream
from worker.ays.profile.cost import StepCost, tabulate
from worker.ays.profile.profile import refine_grid
from worker.ays.schedule import stock_schedules
from worker.ays.solvers import SOLVERS, sample
from worker.ays.search.reference import ReferenceSet, solve_reference, squared_errors

LAW = plane()
FLOW, FORWARD = flow_profile(LAW, points=24, paths=4), forward_profile(LAW, points=24, paths=4)
PROFILES = {"flow": FLOW, "forward": FORWARD}
solvers = pytest.mark.parametrize("solver", FIXED.values(), ids=FIXED)
terminals = pytest.mark.parametrize("terminal", ["zero", "sigma_min"])


def stock(steps: int, terminal: str = "zero") -> dict[str, np.ndarray]:
    process = VE(sigma_min=0.05, sigma_max=20.0)
    return stock_schedules(steps, sigma_max=20.0, sigma_min=0.05, terminal=terminal, process=process)


def held_out(solver, n: int = 8) -> ReferenceSet:
    where = {"levels": FLOW.levels, "terminal": "zero", "seed": 0, "stream": Stream.TRAINING}
    return solve_reference(solver, LAW.denoise, LAW.shape, **where, indices=range(n))


@solvers
@terminals
def test_every_candidate_is_the_optimum_of_its_own_cost(solver, terminal: str) -> None:
    profile = PROFILES[solver.measure]
    found = ladder(profile, solver, 5, terminal=terminal)
    assert found[0].choice == default_weight(profile, solver)
    assert any(candidate.name == "optimized (first-order cost)" for candidate in found) == solver.multistep
    for candidate in found:
        choice, method = candidate.choice, candidate.method
        assert not candidate.stock
        assert np.all(np.diff(candidate.levels) < 0)
        assert candidate.levels[-1] == (0 if terminal == "zero" else profile.levels[-1])
        if candidate.name == "entropic":
            continue  # of no cost; tests/ays/profile/test_curve.py has its closed form
        cost, short = (StepCost(profile, m, exponent=choice.detail, cutoff=choice.knee) for m in (method, method.truncated(2)))
        solution = solve(tabulate(short), steps_max=5, to_zero=terminal == "zero", ratio_bound=choice.ratio_bound)
        optima = [solution.knots(5, start=start).tolist() for start in (None, 0)]
        received = np.abs(profile.levels[:, None] - candidate.levels[: len(optima[0])]).argmin(axis=0)
        if method.history <= 2:
            assert received.tolist() in optima
        else:
            values = [float(cost.total(np.array(knots), to_zero=terminal == "zero")) for knots in [received, *optima]]
            assert values[0] <= max(values[1:])


@pytest.mark.parametrize("solver", [SOLVERS[name] for name in ("ddim", "heun", "dpmpp_3m", "dpmpp_2m_sde")], ids=lambda solver: solver.name)
@terminals
def test_the_polish_keeps_what_is_a_schedule_and_never_raises_the_cost(solver, terminal: str) -> None:
    profile, to_zero = PROFILES[solver.measure], terminal == "zero"
    before = [candidate for candidate in ladder(profile, solver, 5, terminal=terminal)[::5] if candidate.choice is not None]
    for old, new in zip(before, off_grid(profile, before), strict=True):
        assert (new.name, new.choice, new.levels[-1], len(new.levels)) == (old.name, old.choice, old.levels[-1], len(old.levels))
        assert np.all(np.diff(new.levels) < 0)
        assert new.levels[0] == profile.levels[0] or old.levels[0] < profile.levels[0]
        fine = refine_grid(profile, fineness(profile))
        cost = StepCost(fine, new.method, exponent=new.choice.detail, cutoff=new.choice.knee)
        knots = [np.abs(fine.levels[:, None] - levels[levels > 0]).argmin(0) for levels in (old.levels, new.levels)]
        values = [float(cost.total(row, to_zero=to_zero)) for row in knots]
        assert values[1] <= values[0] * (1 + 1e-9)


def test_multistep_candidates_keep_their_ratio_bound() -> None:
    for candidate in ladder(FLOW, SOLVERS["dpmpp_2m"], 6, terminal="sigma_min"):
        bound = None if candidate.choice is None else candidate.choice.ratio_bound
        if bound is not None:
            h = -np.diff(np.log(candidate.levels))
            assert (h[1:] / h[:-1]).max() <= bound * (1 + 1e-8)


def test_bounds_that_no_schedule_fits_are_left_out() -> None:
    assert [candidate.name for candidate in ladder(FLOW, SOLVERS["ddim"], 30, terminal="zero")] == ["entropic"]
    assert ladder(FLOW, SOLVERS["dpmpp_2m"], 24, terminal="zero")[0].levels.shape == (25,)


def test_single_optima_are_those_of_the_ladder() -> None:
    choice = default_weight(FLOW, SOLVERS["dpmpp_2m"])
    received = optimal_levels(FLOW, SOLVERS["dpmpp_2m"], 6, terminal="zero", choice=choice)
    assert np.array_equal(received, ladder(FLOW, SOLVERS["dpmpp_2m"], 6, terminal="zero")[0].levels)


@terminals
@pytest.mark.parametrize("limit", [1, 3, 6])
def test_the_first_heat_keeps_the_default_and_the_best_without_duplicates(limit: int, terminal: str) -> None:
    solver, where = SOLVERS["dpmpp_2m"], {"levels": FLOW.levels, "terminal": terminal, "seed": 0, "stream": Stream.TRAINING}
    noises = solve_reference(solver, LAW.denoise, LAW.shape, **where, indices=range(4))
    found = ladder(FLOW, solver, 6, terminal=terminal)
    kept = heat(solver, LAW.denoise, [*found, *found], noises, limit)
    assert len(kept) == limit
    assert kept[0] is found[0]
    assert [found.index(one) for one in kept] == sorted({found.index(one) for one in kept})
    errors = squared_errors(solver, LAW.denoise, np.stack([one.levels for one in found]), noises).mean(axis=1)
    if limit > 1:
        assert found[int(errors.argmin())] in kept
    for n, one in enumerate(kept):
        for other in kept[:n]:
            assert apart(one.levels, other.levels) > 0.2
    worst = max(errors[found.index(one)] for one in kept[1:]) if limit > 1 else 0.0
    for one, error in zip(found, errors, strict=True):
        assert one in kept or error >= worst or min(apart(one.levels, other.levels) for other in kept) <= 0.2


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of a knot, in mean steps of ln sigma."""
    logs = np.log(a[a > 0]), np.log(b[b > 0])
    return float(np.abs(logs[0] - logs[1]).max() * (len(logs[0]) - 1) / (logs[0][0] - logs[0][-1]))


@solvers
def test_the_race_measures_what_it_ranks(solver) -> None:
    noises, found = held_out(solver), ladder(PROFILES[solver.measure], solver, 5, terminal="zero")[:6]
    outcome = race(solver, LAW.denoise, found, stock(5), noises)
    levels = np.stack([candidate.levels for candidate in outcome.ranking])
    assert outcome.errors == pytest.approx(squared_errors(solver, LAW.denoise, levels, noises), rel=1e-9)
    means = outcome.errors.mean(axis=1)
    assert np.all(np.diff(means[1:]) >= 0)
    paired = outcome.errors[0] - outcome.errors[means.argmin()]
    assert paired.mean() <= paired.std(ddof=1) / np.sqrt(len(noises))  # the first is the best, or cannot be told from it
    assert outcome.best_stock.stock
    assert outcome.best_stock is next(candidate for candidate in outcome.ranking if candidate.stock)


def test_the_default_is_in_the_ladder_from_the_top_as_well() -> None:
    first, second = ladder(FLOW, SOLVERS["ddim"], 5, terminal="zero")[:2]
    assert first.choice == second.choice
    assert first.levels[0] < second.levels[0] == FLOW.levels[0]


def shooting_at(target: np.ndarray, n: int = 8) -> ReferenceSet:
    """Noises whose reference is what one schedule samples, so that this schedule is the best there can be."""
    noises = held_out(SOLVERS["ddim"], n)
    return ReferenceSet(noises.noise, sample(SOLVERS["ddim"], LAW.denoise, target, noises.noise), None, noises.indices)


def test_the_race_is_won_by_the_stock_schedule_where_that_is_best() -> None:
    for name, levels in stock(5).items():
        outcome = race(SOLVERS["ddim"], LAW.denoise, ladder(FLOW, SOLVERS["ddim"], 5, terminal="zero"), stock(5), shooting_at(levels))
        assert outcome.ranking[0] == outcome.best_stock
        assert outcome.ranking[0].name == name
        assert outcome.errors[0] == pytest.approx(0, abs=1e-20)


def test_a_stock_schedule_runs_to_the_end_where_all_are_bad() -> None:
    """All the optimized ones are close to the reference, every stock schedule is far from it: still one of them is kept."""
    good = optimal_levels(FLOW, SOLVERS["ddim"], 5, terminal="zero", weight=ErrorWeight(1.8))
    near = [Candidate(f"near {n}", good * np.array([1, 1 + 0.001 * n, 1, 1, 1, 1])) for n in range(12)]
    outcome = race(SOLVERS["ddim"], LAW.denoise, near, stock(5), shooting_at(good, 48))
    assert outcome.ranking[0].name == "near 0"
    assert [candidate.stock for candidate in outcome.ranking].count(True) == 1
    assert len(outcome.ranking) < 8


def test_the_default_runs_to_the_end_and_is_beaten_only_where_the_noises_are_sure() -> None:
    good = optimal_levels(FLOW, SOLVERS["ddim"], 5, terminal="zero", weight=ErrorWeight(1.8))
    poor, worse = (Candidate(name, good * np.array([1, factor, factor, 1, 1, 1])) for name, factor in (("poor", 0.9), ("worse", 0.6)))
    best = Candidate("best", good)
    rest = [Candidate(f"rest {n}", good * np.array([1, 1 + 0.01 * n, 1, 1, 1, 1])) for n in range(1, 12)]
    noises = shooting_at(good, 48)
    sure = race(SOLVERS["ddim"], LAW.denoise, [worse, best, *rest], stock(5), noises)
    assert sure.ranking[0] is best
    assert worse in sure.ranking
    # One noise in 48 prefers another schedule to the default by far: its mean is better, but not by a standard error.
    ends = [sample(SOLVERS["ddim"], LAW.denoise, candidate.levels, noises.noise) for candidate in (poor, best)]
    reference = ends[0].clone()
    reference[0] += 1000 * (ends[1][0] - ends[0][0])
    unsure = race(SOLVERS["ddim"], LAW.denoise, [poor, best], stock(5), ReferenceSet(noises.noise, reference, None, noises.indices))
    assert unsure.ranking[:2] == [poor, best]
    assert unsure.errors[1].mean() < unsure.errors[0].mean()


def test_of_an_sde_what_one_noise_says_for_another_beats_the_default() -> None:
    """One noise in 48 prefers it by far: its mean is better, by nearly a standard error."""
    solver, noises = SOLVERS["sddim"], held_out(SOLVERS["sddim"], 48)
    good = optimal_levels(FLOW, SOLVERS["ddim"], 5, terminal="zero", weight=ErrorWeight(1.8))
    default, other = Candidate("default", good * np.array([1, 0.9, 0.9, 1, 1, 1])), Candidate("other", good)
    ends = [sample(solver, LAW.denoise, candidate.levels, noises.noise, brownian=noises.brownian) for candidate in (default, other)]
    reference = ends[0].clone()
    reference[0] += 1000 * (ends[1][0] - ends[0][0])
    outcome = race(solver, LAW.denoise, [default, other], {"far": 0.3 * good}, replace(noises, reference=reference))
    assert outcome.ranking[:2] == [other, default]
    change = outcome.errors[0] - outcome.errors[1]
    assert -1 < change.mean() / (change.std(ddof=1) / np.sqrt(48)) < -0.5  # less than what an ODE's would need


def test_a_race_of_stock_schedules_alone_has_a_winner() -> None:
    outcome = race(SOLVERS["ddim"], LAW.denoise, [], stock(5), held_out(SOLVERS["ddim"]))
    assert outcome.ranking[0] is outcome.best_stock


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_a_race_spends_about_what_was_planned(n: int) -> None:
    denoise = evaluator(LAW)
    found = ladder(FLOW, SOLVERS["ddim"], 5, terminal="zero")[:6]
    noises = held_out(SOLVERS["ddim"], n)
    outcome = race(SOLVERS["ddim"], denoise, found, stock(5), noises)
    assert outcome.errors.shape[1] == n
    assert denoise.evaluations <= (len(found) + len(stock(5))) * 5 * n  # what running every candidate on every noise would cost
