"""The sweep finds what brute force finds; the coordinate descent never makes it worse."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ays.problems import FIXED, exact_forward_profile, flow_profile, forward_profile, plane, spectrum
from worker.ays.analytic import Gaussian, power_law_gaussian
from worker.ays.paths import Stream
from worker.ays.profile.cost import CostTable, StepCost, tabulate
from worker.ays.profile.profile import Profile, log_grid, refine_grid
from worker.ays.search.candidates import optimal_levels
from worker.ays.search.reference import solve_reference, squared_errors
from worker.ays.search.shortest_path import coordinate_descent, solve
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import SOLVERS, second_order

SMALL = {"flow": flow_profile(plane(), points=9, paths=3), "forward": forward_profile(plane(), points=9, paths=3)}
solvers = pytest.mark.parametrize("solver", FIXED.values(), ids=FIXED)
TABULATED = [name for name, solver in FIXED.items() if solver.history <= 2 and name not in {"ddim", "euler_ancestral", "ddpm"}]
terminals = pytest.mark.parametrize("to_zero", [False, True], ids=["sigma_min", "zero"])


def small(solver) -> Profile:
    return SMALL[solver.measure]


def total(table: CostTable, knots: tuple[int, ...], *, to_zero: bool, bound: float | None) -> float:
    """Cost of one schedule, read off the table step by step; inf where it breaks the bound."""
    h = np.diff(-np.log(table.levels[list(knots)]))
    multistep = table.pair is not None
    if multistep and bound is not None and np.any(h[1:] / h[:-1] > bound * (1 + 1e-9)):
        return np.inf
    cost = table.to_zero[knots[-1]] if to_zero else 0.0
    for n, (i, j) in enumerate(itertools.pairwise(knots)):
        paired = multistep and n > 0
        if not to_zero and n == len(knots) - 2:
            cost += table.pair_to_last[knots[n - 1], i] if paired else table.to_last[i]
        else:
            cost += table.pair[knots[n - 1], i, j] if paired else table.step[i, j]
    return float(cost)


def brute_force(table: CostTable, steps: int, start: int, *, to_zero: bool, bound: float | None) -> tuple[float, tuple[int, ...]]:
    """Every schedule of that many steps."""
    last = len(table.levels) - 1
    free = range(start + 1, last + 1 if to_zero else last)
    close = () if to_zero else (last,)
    schedules = [(start, *middle, *close) for middle in itertools.combinations(free, steps - 1)]
    if start == last and not to_zero:
        schedules = []
    return min(((total(table, s, to_zero=to_zero, bound=bound), s) for s in schedules), default=(np.inf, ()))


@pytest.mark.parametrize(
    ("name", "bound"), [*((name, None) for name in TABULATED), ("dpmpp_2m", 2.0), ("dpmpp_2m", 1.0), ("dpmpp_2m_sde", 2.0)]
)
@terminals
@pytest.mark.parametrize("exponent", [0.0, 1.8])
def test_the_sweep_equals_brute_force_from_every_level_for_every_number_of_steps(
    name: str, bound: float | None, to_zero: bool, exponent: float
) -> None:
    solver = SOLVERS[name]
    table = tabulate(StepCost(small(solver), solver, exponent=exponent))
    solution = solve(table, steps_max=9, to_zero=to_zero, ratio_bound=bound)
    for steps in range(1, 10):
        for start in range(9):
            expected, _ = brute_force(table, steps, start, to_zero=to_zero, bound=bound)
            assert solution.value[steps - 1, start] == pytest.approx(expected, rel=1e-10)
            if np.isfinite(expected):
                knots = tuple(solution.knots(steps, start=start).tolist())
                assert knots[0] == start
                assert total(table, knots, to_zero=to_zero, bound=bound) == pytest.approx(expected, rel=1e-10)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 10**6), to_zero=st.booleans(), bound=st.sampled_from([None, 1.5, 3.0]), pairs=st.booleans())
def test_the_sweep_equals_brute_force_on_arbitrary_tables(seed: int, to_zero: bool, bound: float | None, pairs: bool) -> None:
    """Costs of no model: the optimizer may rely on nothing but the shape of the sum."""
    g, rng = 8, np.random.default_rng(seed)
    later = np.where(np.arange(g)[None, :] > np.arange(g)[:, None], 0.0, np.inf)
    levels = np.sort(rng.uniform(0.1, 10, g))[::-1]
    pair = rng.exponential(size=(g, g, g)) + later[:, :, None] + later[None] if pairs else None
    last = rng.exponential(size=g) + later[:, -1]
    close = rng.exponential(size=(g, g)) + later + later[:, -1] if pairs else None
    table = CostTable(levels, rng.exponential(size=g), rng.exponential(size=(g, g)) + later, pair, rng.exponential(size=g), last, close)
    solution = solve(table, steps_max=g, to_zero=to_zero, ratio_bound=bound)
    for steps, start in itertools.product(range(1, g + 1), range(g)):
        expected, knots = brute_force(table, steps, start, to_zero=to_zero, bound=bound)
        assert solution.value[steps - 1, start] == pytest.approx(expected, rel=1e-12)
        if knots and np.isfinite(expected):
            assert solution.knots(steps, start=start).tolist() == list(knots)
    for steps in range(1, g + 1):
        totals = table.start + solution.value[steps - 1]
        assert solution.possible(steps) == bool(np.isfinite(totals).any())
        if solution.possible(steps):
            assert totals[solution.knots(steps)[0]] == totals.min()


@settings(deadline=None, derandomize=True, max_examples=15)
@given(c=st.floats(0.1, 2.0), to_zero=st.booleans())
def test_more_steps_never_cost_more_at_first_order(c: float, to_zero: bool) -> None:
    law = Gaussian(c, sigma_min=0.02, sigma_max=20.0)
    profile = exact_forward_profile(law.mmse, log_grid(20.0, 0.02, 24))
    value = solve(tabulate(StepCost(profile, SOLVERS["sddim"], exponent=0.0)), steps_max=20, to_zero=to_zero).value[:, 0]
    assert np.all(np.diff(value) <= 1e-12 * value[:-1])


@terminals
def test_a_looser_ratio_bound_never_costs_more(to_zero: bool) -> None:
    table = tabulate(StepCost(small(SOLVERS["dpmpp_2m"]), SOLVERS["dpmpp_2m"], exponent=1.8))
    values = [solve(table, steps_max=8, to_zero=to_zero, ratio_bound=bound).value for bound in (1.0, 1.5, 2.0, 3.0, None)]
    for tight, loose in itertools.pairwise(values):
        assert np.all(loose <= tight)
    assert np.any(values[-1] < values[0])


def test_the_optimum_of_a_gaussian_approaches_the_fixed_point_of_its_bound() -> None:
    """Two steps: the knot is the closed-form minimizer (paper, Appendix A.3), to the resolution of the grid."""
    law = Gaussian(0.5, sigma_min=0.02, sigma_max=10.0)
    levels = log_grid(10.0, 0.02, 241)
    table = tabulate(StepCost(exact_forward_profile(law.mmse, levels), SOLVERS["sddim"], exponent=0.0))
    knots = solve(table, steps_max=6, to_zero=False).knots(2, start=0)
    assert levels[knots[1]] == pytest.approx(law.klub_fixed_point(10.0, 0.02), rel=np.log(levels[0] / levels[1]))
    six = levels[solve(table, steps_max=6, to_zero=False).knots(6, start=0)]
    assert law.klub(six) == pytest.approx(2.55, rel=0.02)  # the optimum off the grid, of an independent derivation


@pytest.mark.parametrize(("steps", "start"), [(0, 0), (10, 0), (4, 7)])
def test_impossible_requests_are_refused_with_what_was_received(steps: int, start: int) -> None:
    solution = solve(tabulate(StepCost(SMALL["flow"], SOLVERS["ddim"], exponent=1.0)), steps_max=9, to_zero=True)
    match = rf"received steps={steps} from level {start} of 9; expected at most 9 and enough"
    with pytest.raises(ValueError, match=match):
        solution.knots(steps, start=start)


@solvers
@terminals
@settings(deadline=None, derandomize=True, max_examples=12)
@given(interior=st.sets(st.integers(1, 31), min_size=1, max_size=6), bound=st.sampled_from([None, 2.0]), keep_start=st.booleans())
def test_the_descent_never_raises_the_cost_and_keeps_the_ends(solver, to_zero: bool, interior: set[int], bound, keep_start: bool) -> None:
    cost = StepCost(refine_grid(small(solver), 4), solver, exponent=1.8)
    start = np.array([0, *sorted(interior), 32])
    moved = coordinate_descent(cost, [start], to_zero=to_zero, ratio_bound=bound, keep_start=keep_start)[0]
    assert moved.shape == start.shape
    assert moved[0] == 0 or not keep_start
    assert moved[0] >= 0
    assert np.all(np.diff(moved) > 0)
    assert moved[-1] <= 32
    if not to_zero:
        assert moved[-1] == 32

    def ratios(knots: np.ndarray) -> np.ndarray:
        h = -np.diff(np.log(cost.levels[knots]))
        return h[1:] / h[:-1]

    allowed = bound is None or not solver.multistep or ratios(start).max() <= bound * (1 + 1e-9)
    if allowed:
        assert cost.total(moved, to_zero=to_zero) <= cost.total(start, to_zero=to_zero) * (1 + 1e-12)
        if solver.multistep and bound is not None:
            assert ratios(moved).max() <= bound * (1 + 1e-8)


@terminals
def test_the_descent_from_the_optimum_gains_on_the_grid(to_zero: bool) -> None:
    """Off-grid knots: the exact optimum of the coarse grid can be improved, and no single fine move improves the result."""
    profile = flow_profile(spectrum(), points=24, paths=4)
    solver = SOLVERS["ddim"]
    knots = solve(tabulate(StepCost(profile, solver, exponent=1.8)), steps_max=6, to_zero=to_zero).knots(6) * 8
    cost = StepCost(refine_grid(profile, 8), solver, exponent=1.8)
    moved = coordinate_descent(cost, [knots], to_zero=to_zero)[0]
    reached = float(cost.total(moved, to_zero=to_zero))
    assert reached < float(cost.total(knots, to_zero=to_zero))
    for move, knot in itertools.product((-1, 1), range(1, len(moved) if to_zero else len(moved) - 1)):
        trial = moved.copy()
        trial[knot] += move
        if np.all(np.diff(trial) > 0) and trial[-1] < len(cost.levels):
            assert float(cost.total(trial, to_zero=to_zero)) >= reached * (1 - 1e-8)


def test_a_schedule_without_free_knots_is_left_alone() -> None:
    cost = StepCost(SMALL["flow"], SOLVERS["ddim"], exponent=1.0)
    assert coordinate_descent(cost, [np.array([0, 8])], to_zero=False, keep_start=True)[0].tolist() == [0, 8]
    assert coordinate_descent(cost, [np.array([0])], to_zero=True, keep_start=True)[0].tolist() == [0]


def schedules(counts: range) -> list[np.ndarray]:
    """Log-uniform schedules on a grid of 32 cells."""
    return [np.round(np.linspace(0, 32, n)).astype(np.intp) for n in counts]


@solvers
@terminals
def test_schedules_descend_side_by_side_as_they_are_alone(solver, to_zero: bool) -> None:
    cost = StepCost(refine_grid(small(solver), 4), solver, exponent=1.8)
    together = coordinate_descent(cost, schedules(range(3, 9)), to_zero=to_zero, ratio_bound=2.0)
    for start, moved in zip(schedules(range(3, 9)), together, strict=True):
        assert np.array_equal(moved, coordinate_descent(cost, [start], to_zero=to_zero, ratio_bound=2.0)[0])
        assert cost.total(moved, to_zero=to_zero) < cost.total(start, to_zero=to_zero)


@pytest.mark.parametrize("name", [name for name, solver in FIXED.items() if solver.history > 1])
def test_no_move_of_one_knot_improves_the_end_of_a_descent(name: str) -> None:
    """Groups of knots moved at once are as good as knots moved one by one, whatever the length of the history."""
    cost = StepCost(refine_grid(small(SOLVERS[name]), 4), SOLVERS[name], exponent=1.8)
    moved = coordinate_descent(cost, [schedules(range(9, 10))[0]], to_zero=True)[0]
    reached = float(cost.total(moved, to_zero=True))
    for move, knot in itertools.product((-1, 1), range(1, len(moved))):
        trial = moved.copy()
        trial[knot] += move
        if np.all(np.diff(trial) > 0) and trial[-1] < len(cost.levels):
            assert float(cost.total(trial, to_zero=True)) >= reached * (1 - 1e-8)


def test_no_schedules_are_none() -> None:
    assert coordinate_descent(StepCost(SMALL["flow"], SOLVERS["ddim"], exponent=1.0), [], to_zero=True) == []


# ER-SDE-3 differs from ER-SDE-2 by so little that its schedule does, too.
LONG = [name for name, solver in FIXED.items() if (solver.history > 2 or solver.corrector is not None) and name != "er_sde_3"]


@pytest.mark.parametrize("name", LONG)
@terminals
def test_a_long_history_has_a_better_schedule_than_that_of_2m(name: str, to_zero: bool) -> None:
    """On its own cost, in the median over these numbers of steps; docs/solvers.md has the medians."""
    solver, second = SOLVERS[name], second_order(SOLVERS[name])
    law = spectrum(8)
    profile = forward_profile(law, points=32, paths=8) if solver.measure == "forward" else flow_profile(law, points=32, paths=8)
    cost, fine = StepCost(refine_grid(profile, 4), solver, exponent=1.8), StepCost(refine_grid(profile, 4), second, exponent=1.8)
    solved = solve(tabulate(StepCost(profile, second, exponent=1.8)), steps_max=16, to_zero=to_zero, ratio_bound=2.0)
    starts = [solved.knots(steps, start=0) * 4 for steps in range(6, 17)]
    of_2m = coordinate_descent(fine, starts, to_zero=to_zero, ratio_bound=2.0, keep_start=True)
    own = coordinate_descent(cost, of_2m, to_zero=to_zero, ratio_bound=2.0, keep_start=True)
    gains = [float(cost.total(a, to_zero=to_zero) / cost.total(b, to_zero=to_zero)) for a, b in zip(own, of_2m, strict=True)]
    assert max(gains) <= 1
    assert np.median(gains) < 0.97


@pytest.mark.parametrize("steps", [8, 12])
def test_the_own_schedule_of_deis_samples_better_than_that_of_2m(steps: int) -> None:
    """Squared distance to the fine solution on fresh noises of a Gaussian spectrum, at the default exponent: less than 0.8 of it."""
    law = power_law_gaussian(48, sigma_min=0.02, sigma_max=20.0)
    profile = flow_profile(law, points=64, paths=8)
    where = {"terminal": "zero", "weight": ErrorWeight(1.8, ratio_bound=2.0)}
    levels = np.stack([optimal_levels(profile, SOLVERS[name], steps, **where) for name in ("deis", "dpmpp_2m")])
    noises = solve_reference(
        SOLVERS["deis"], law.denoise, law.shape, levels=profile.levels, terminal="zero", indices=range(32), seed=0, stream=Stream.FRESH
    )
    own, of_2m = squared_errors(SOLVERS["deis"], law.denoise, levels, noises).mean(axis=1)
    assert own < 0.8 * of_2m
