r"""The ladder: candidate schedules from one profile, and the race that picks one.

The converged minimizer of the bound is a bad image schedule (the paper stops early by eye, Appendix A.3). Here the detail exponent p and
the bound on the ratio of successive steps take that role: each pair is one more exact minimization on the same profile. Successive
halving over held-out noises, with the stock schedules in the race, picks the one that the real solver likes best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worker.ays.cost import Index, StepCost, tabulate
from worker.ays.noise import Array
from worker.ays.optimize import polish, polish_all, solve
from worker.ays.profile import Profile
from worker.ays.schedule import Terminal
from worker.ays.solvers import Denoise, Solver, first_order, reference
from worker.ays.validate import HeldOut, squared_errors

DEFAULT_DETAIL = 1.8
"""Detail where nothing was validated: close to the best on every model tried (docs/results)."""

DEFAULT_RATIO_BOUND = 2.0
"""Bound on successive steps of multistep solvers where nothing was validated."""

DETAILS = (1.8, 1.4, 2.1, 1.0, 2.4, 0.6, 0.0)
RATIO_BOUNDS: tuple[float | None, ...] = (2.0, 3.0, 1.5, None)

LATER_STARTS = (0.6, 0.35, 0.2)
"""Starts below sigma_max, as fractions of it: where the denoiser hardly moves at the top, a step there is wasted."""

_FIRST_RUNG = 12
_SAME = 0.2
_TIE = 0.5


@dataclass(frozen=True)
class Candidate:
    """A schedule in the race.

    Attributes:
        name: `optimized`, `optimized (first-order cost)`, `optimized (second-order cost)`, or a stock schedule's name.
        levels: shape (N + 1,).
        detail: exponent p it was optimized for; None for stock.
        ratio_bound: bound it was optimized under; None: none.
        stock: whether it is hand-made.
    """

    name: str
    levels: Array
    detail: float | None = None
    ratio_bound: float | None = None
    stock: bool = False


def optimal_levels(profile: Profile, solver: Solver, steps: int, *, terminal: Terminal, detail: float, ratio_bound: float | None) -> Array:
    """Optimum on the profile's grid, shape (steps + 1,): exact for a history of at most two, else a descent from there."""
    to_zero = terminal == "zero"
    table = tabulate(StepCost(profile, solver.truncated(2), detail=detail))
    knots = solve(table, steps_max=steps, to_zero=to_zero, ratio_bound=ratio_bound).knots(steps)
    if solver.history > 2:
        knots = polish(StepCost(profile, solver, detail=detail), knots, to_zero=to_zero, ratio_bound=ratio_bound)
    return np.append(profile.levels[knots], 0.0) if to_zero else profile.levels[knots]


def ladder(profile: Profile, solver: Solver, steps: int, *, terminal: Terminal) -> list[Candidate]:
    """Optima for every detail, ratio bound and, for multistep solvers, the costs of simpler methods; the default first.

    Ratio bounds under which no schedule of that many steps exists are left out.
    """
    to_zero, found = terminal == "zero", []
    for name, method, bounds in _costs(solver):
        for detail in DETAILS:
            cost = StepCost(profile, method, detail=detail)
            table = tabulate(StepCost(profile, method.truncated(2), detail=detail))
            for bound in bounds:
                solution = solve(table, steps_max=steps, to_zero=to_zero, ratio_bound=bound)
                starts = _starts(profile.levels) if bound == bounds[0] else [0]
                optima = [solution.knots(steps, start=start) for start in starts if np.isfinite(solution.value[steps - 1, start])]
                if method.history > 2:
                    optima = polish_all(cost, optima, to_zero=to_zero, ratio_bound=bound)
                schedules = [profile.levels[knots] for knots in optima]
                found += [Candidate(name, np.append(levels, 0.0) if to_zero else levels, detail, bound) for levels in schedules]
    return found


def _costs(solver: Solver) -> list[tuple[str, Solver, tuple[float | None, ...]]]:
    """Costs to optimize for, with ratio bounds: the solver's own first, then those of simpler methods with the same noise.

    Costs on the path do not see how a long history amplifies earlier errors, and a simpler method's schedule may be the better one.
    """
    costs = [("optimized", solver, RATIO_BOUNDS if solver.multistep else (None,))]
    if solver.history > 2 or solver.corrector is not None:
        costs.append(("optimized (second-order cost)", reference(solver), (DEFAULT_RATIO_BOUND,)))
    if solver.multistep:
        costs.append(("optimized (first-order cost)", first_order(solver), (None,)))
    return costs


def _starts(levels: Array) -> list[int]:
    return [0, *(int(np.abs(np.log(levels / levels[0] / fraction)).argmin()) for fraction in LATER_STARTS)]


def thin(candidates: Sequence[Candidate], limit: int) -> list[Candidate]:
    """Drop near-duplicates, earlier ones first to stay, until at most `limit` remain (the distance grows as needed)."""
    same = _SAME
    while True:
        kept: list[Candidate] = []
        for candidate in candidates:
            if all(_distance(candidate.levels, other.levels) > same for other in kept):
                kept.append(candidate)
        if len(kept) <= limit:
            return kept
        same *= 1.25


def _distance(a: Array, b: Array) -> float:
    """Largest difference of a knot, in mean step widths of ln sigma."""
    positive = a > 0
    log_a, log_b = np.log(a[positive]), np.log(b[positive])
    return float(np.abs(log_a - log_b).max() / ((log_a[0] - log_a[-1]) / max(1, len(log_a) - 1)))


@dataclass(frozen=True)
class Race:
    """Outcome of the successive halving.

    Attributes:
        ranking: the candidates that ran to the end, best first.
        errors: their squared errors on all noises, shape (len(ranking), n).
        best_stock: the hand-made schedule with the smallest error.
    """

    ranking: list[Candidate]
    errors: Array
    best_stock: Candidate


def race(solver: Solver, denoise: Denoise, optimized: Sequence[Candidate], stock: Mapping[str, Array], held_out: HeldOut) -> Race:
    """Successive halving: a dozen noises for all, then twice as many for the better half, and so on to all noises.

    Args:
        solver: the real method.
        denoise: the model.
        optimized: candidates of the ladder.
        stock: hand-made schedules by name; the best of them runs to the end.
        held_out: the noises to race on.
    """
    alive = [*optimized, *(Candidate(name, levels, stock=True) for name, levels in stock.items())]
    errors, entered = np.zeros((len(alive), 0)), np.arange(len(alive))
    n = len(held_out)
    stops = [*(stop for stop in (_FIRST_RUNG * 2**rung for rung in range(8)) if stop < n), n]
    for start, stop in zip([0, *stops], stops, strict=False):
        new = squared_errors(solver, denoise, np.stack([c.levels for c in alive]), held_out.part(start, stop))
        errors = np.concatenate([errors, new], axis=1)
        order = errors.mean(axis=1).argsort(kind="stable")
        if stop < n:
            kept = list(order[: max(2, (len(order) + 1) // 2)])
            if not any(alive[i].stock for i in kept):
                kept.append(next(i for i in order if alive[i].stock))
            order = np.array(kept)
        alive, errors = [alive[i] for i in order], errors[order]
        entered = entered[order]
    best_stock = next(candidate for candidate in alive if candidate.stock)
    first = _first_of_the_tied(errors, entered)
    ranking = [alive[first], *alive[:first], *alive[first + 1 :]]
    return Race(ranking, np.concatenate([errors[[first]], np.delete(errors, first, axis=0)]), best_stock)


def _first_of_the_tied(errors: Array, entered: Index) -> int:
    """Of the candidates that are not worse than the best by `_TIE` standard errors of the paired difference, the one that entered first.

    A few heavy-tailed noises cannot tell neighbours apart; without this the winner is the luckiest of many.
    """
    difference = errors - errors[0]
    spread = difference.std(axis=1, ddof=1) / np.sqrt(errors.shape[1]) if errors.shape[1] > 1 else np.zeros(len(errors))
    tied = np.flatnonzero(difference.mean(axis=1) <= _TIE * spread)
    return int(tied[entered[tied].argmin()])
