"""Candidates: each the optimum of its own cost, the default first; hand-made ones by their likely cost; fitted ones with their weights."""

import numpy as np
import pytest

from tests.ays.problems import FIXED, flow_profile, forward_profile, plane
from worker.ays.noise import VE
from worker.ays.profile.cost import StepCost, tabulate
from worker.ays.profile.profile import refine_grid
from worker.ays.schedule import moved_ends, stock_schedules
from worker.ays.search.candidates import (
    MOVED_ENDS,
    StockSchedules,
    fineness,
    fitted_candidates,
    fixed_candidates,
    off_grid,
    optimal_levels,
)
from worker.ays.search.shortest_path import solve
from worker.ays.search.weight import default_weight
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import printed_weights

LAW = plane()
FLOW, FORWARD = flow_profile(LAW, points=24, paths=4), forward_profile(LAW, points=24, paths=4)
PROFILES = {"flow": FLOW, "forward": FORWARD}
SPAN = {"sigma_max": 20.0, "sigma_min": 0.05}
solvers = pytest.mark.parametrize("solver", FIXED.values(), ids=FIXED)
terminals = pytest.mark.parametrize("terminal", ["zero", "sigma_min"])


@solvers
@terminals
def test_every_candidate_is_the_optimum_of_its_own_cost(solver, terminal: str) -> None:
    profile = PROFILES[solver.measure]
    found = fixed_candidates(profile, solver, 5, terminal=terminal)
    assert found[0].weight == default_weight(profile, solver)
    assert any(candidate.name == "optimized (first-order cost)" for candidate in found) == solver.multistep
    for candidate in found:
        weight, method = candidate.weight, candidate.method
        assert not candidate.stock
        assert np.all(np.diff(candidate.levels) < 0)
        assert candidate.levels[-1] == (0 if terminal == "zero" else profile.levels[-1])
        if candidate.name == "entropic":
            continue  # of no cost; tests/ays/profile/test_curve.py has its closed form
        cost, short = (StepCost(profile, m, exponent=weight.exponent, cutoff=weight.cutoff) for m in (method, method.truncated(2)))
        solution = solve(tabulate(short), steps_max=5, to_zero=terminal == "zero", ratio_bound=weight.ratio_bound)
        optima = [solution.knots(5, start=start).tolist() for start in (None, 0)]
        received = np.abs(profile.levels[:, None] - candidate.levels[: len(optima[0])]).argmin(axis=0)
        if method.history <= 2:
            assert received.tolist() in optima
        else:
            values = [float(cost.total(np.array(knots), to_zero=terminal == "zero")) for knots in [received, *optima]]
            assert values[0] <= max(values[1:])


@pytest.mark.parametrize("solver", [SOLVERS[name] for name in ("ddim", "heun", "dpmpp_3m", "dpmpp_2m_sde")], ids=lambda solver: solver.name)
@terminals
def test_the_descent_keeps_what_is_a_schedule_and_never_raises_the_cost(solver, terminal: str) -> None:
    profile, to_zero = PROFILES[solver.measure], terminal == "zero"
    before = [candidate for candidate in fixed_candidates(profile, solver, 5, terminal=terminal)[::5] if candidate.weight is not None]
    for old, new in zip(before, off_grid(profile, before), strict=True):
        assert (new.name, new.weight, new.levels[-1], len(new.levels)) == (old.name, old.weight, old.levels[-1], len(old.levels))
        assert np.all(np.diff(new.levels) < 0)
        assert new.levels[0] == profile.levels[0] or old.levels[0] < profile.levels[0]
        fine = refine_grid(profile, fineness(profile))
        cost = StepCost(fine, new.method, exponent=new.weight.exponent, cutoff=new.weight.cutoff)
        knots = [np.abs(fine.levels[:, None] - levels[levels > 0]).argmin(0) for levels in (old.levels, new.levels)]
        values = [float(cost.total(row, to_zero=to_zero)) for row in knots]
        assert values[1] <= values[0] * (1 + 1e-9)


def test_multistep_candidates_keep_their_ratio_bound() -> None:
    for candidate in fixed_candidates(FLOW, SOLVERS["dpmpp_2m"], 6, terminal="sigma_min"):
        bound = None if candidate.weight is None else candidate.weight.ratio_bound
        if bound is not None:
            h = -np.diff(np.log(candidate.levels))
            assert (h[1:] / h[:-1]).max() <= bound * (1 + 1e-8)


def test_bounds_that_no_schedule_fits_are_left_out() -> None:
    assert [candidate.name for candidate in fixed_candidates(FLOW, SOLVERS["ddim"], 30, terminal="zero")] == ["entropic"]
    assert fixed_candidates(FLOW, SOLVERS["dpmpp_2m"], 24, terminal="zero")[0].levels.shape == (25,)


def test_single_optima_are_those_of_the_fixed_candidates() -> None:
    weight = default_weight(FLOW, SOLVERS["dpmpp_2m"])
    received = optimal_levels(FLOW, SOLVERS["dpmpp_2m"], 6, terminal="zero", weight=weight)
    assert np.array_equal(received, fixed_candidates(FLOW, SOLVERS["dpmpp_2m"], 6, terminal="zero")[0].levels)


def test_the_default_is_there_from_the_top_as_well() -> None:
    first, second = fixed_candidates(FLOW, SOLVERS["ddim"], 5, terminal="zero")[:2]
    assert first.weight == second.weight
    assert first.levels[0] < second.levels[0] == FLOW.levels[0]


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "fitted", "sddim"])
@terminals
def test_hand_made_schedules_are_all_there_and_the_likeliest_first(name: str, terminal: str) -> None:
    solver, process = SOLVERS[name], VE(**SPAN)
    profile = PROFILES[solver.measure]
    found = StockSchedules(profile, solver, process, **SPAN).candidates(6, terminal)
    own = stock_schedules(6, **SPAN, terminal=terminal, process=process)
    moved = moved_ends(6, **SPAN, terminal=terminal)
    names = [candidate.name for candidate in found]
    assert set(own) <= set(names)
    assert len(set(names)) == len(names) == len(own) + min(MOVED_ENDS, len(moved))
    assert all(candidate.stock and np.array_equal(candidate.levels, (own | moved)[candidate.name]) for candidate in found)
    method = SOLVERS["dpmpp_2m"] if solver.fitted else solver
    cost = default_weight(profile, method).cost(refine_grid(profile, 40), method)
    totals = []
    for candidate in found:
        knots = np.abs(np.log(cost.levels)[:, None] - np.log(candidate.levels[candidate.levels > 0])).argmin(axis=0)
        totals.append(float(cost.total(knots, to_zero=terminal == "zero")))
    assert totals == pytest.approx(sorted(totals), rel=0.2)


@terminals
def test_fitted_candidates_have_weights_of_their_own_or_of_a_printed_method(terminal: str) -> None:
    found = fitted_candidates(FLOW, 6, terminal=terminal)
    assert [candidate.name for candidate in found][:3] == ["fitted"] * 3
    assert {candidate.weight.exponent for candidate in found[:3]} == {1.8, 1.4, 1.0}
    for candidate in found:
        assert candidate.weights.shape == (6, 4)
        assert candidate.weights.sum(axis=1) == pytest.approx(np.ones(6), rel=1e-9)
        assert np.all(np.diff(candidate.levels) < 0)
        assert candidate.levels[-1] == (0 if terminal == "zero" else FLOW.levels[-1])
        if candidate.method is not None:
            assert candidate.name == f"fitted ({candidate.method.name})"
            assert np.array_equal(candidate.weights, printed_weights(candidate.method, candidate.levels))
    assert off_grid(FLOW, found) == found  # weights belong to their levels
