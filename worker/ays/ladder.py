r"""The ladder: candidate schedules from one profile, and the race that picks one.

The converged minimizer of the bound is a bad image schedule (the paper stops early by eye, Appendix A.3). Here the weight of errors and
the bound on the ratio of successive steps take that role: each choice is one more exact minimization on the same profile. Successive
halving over held-out noises, with the stock schedules in the race, picks the one that the real solver likes best: all run on the first
few, as no order of the choices tells beforehand which will do.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.ays.choice import RATIO_BOUNDS, Choice, rungs
from worker.ays.noise import Array
from worker.ays.optimize import polish, solve
from worker.ays.profile.cost import Index, tabulate
from worker.ays.profile.curve import Curve, entropic
from worker.ays.profile.profile import Profile, refine_grid
from worker.ays.schedule import Terminal
from worker.ays.solvers import Denoise, Solver, first_order, reference
from worker.ays.validate import HeldOut, squared_errors

_FINE_LEVELS = 256
_FIRST_RUNG = 12
_SAME = 0.2
_TIE = 0.5
_BEATEN = {False: 1.0, True: 0.5}
"""Standard errors by which the default of an ODE, and of an SDE, is beaten (measured)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A schedule in the race.

    Attributes:
        name: `optimized`, `entropic`, `imitation` (theory O), `optimized (first-order cost)`, `optimized (second-order cost)`, or a stock
            schedule's name.
        levels: shape (N + 1,).
        choice: what it was optimized for; None for stock.
        stock: whether it is hand-made.
        method: the solver whose cost it minimizes; None for stock and where nobody asks.
    """

    name: str
    levels: Array
    choice: Choice | None = None
    stock: bool = False
    method: Solver | None = None


def optimal_levels(profile: Profile, solver: Solver, steps: int, *, terminal: Terminal, choice: Choice) -> Array:
    """Optimum on the profile's grid, shape (steps + 1,): exact for a history of at most two, else a descent from there."""
    found = _optima(profile, solver, steps, terminal, choice, [choice.ratio_bound])
    if not found:
        msg = f"received steps={steps} for {len(profile.levels)} levels; expected fewer steps than levels; measure on a finer grid"
        raise ValueError(msg)
    return found[0].levels


def ladder(profile: Profile, solver: Solver, steps: int, *, terminal: Terminal) -> list[Candidate]:
    """Optima for every weight and, for multistep solvers, for the costs of simpler methods and every ratio bound; the default first.

    Choices for which no schedule of that many steps exists are left out. The default is there with a start at the highest level, too.
    """
    default, *others = rungs(profile, solver)
    bounds = RATIO_BOUNDS if solver.multistep else (None,)
    optima = _optima(profile, solver, steps, terminal, default, bounds)
    found, wide = optima[:1], optima[1:]
    found += _optima(profile, solver, steps, terminal, default, bounds[:1], start=0)
    if profile.moments[0, 0] > 0:
        found.append(Candidate("entropic", _entropic(profile, steps, terminal)))
    for choice in others:
        optima = _optima(profile, solver, steps, terminal, choice, bounds)
        found += optima[:1]
        wide += optima[1:]
    for name, method in _simpler(solver).items():
        for choice in rungs(profile, method):
            found += _optima(profile, method, steps, terminal, choice, [choice.ratio_bound], name=f"optimized ({name} cost)")
    return found + wide


def _entropic(profile: Profile, steps: int, terminal: Terminal) -> Array:
    """Even steps of rescaled entropic time (theory 15), which the loss alone decides: a good start where errors cancel unseen."""
    sigma, loss = profile.levels[::-1], np.diag(profile.moments)[::-1]
    span = {"sigma_max": float(profile.levels[0]), "sigma_min": float(profile.levels[-1])}
    return entropic(Curve.fitted(sigma, loss), steps, **span, terminal=terminal)


def _simpler(solver: Solver) -> dict[str, Solver]:
    """Simpler methods with the same noise.

    Costs on the path do not see how a long history amplifies earlier errors, so their schedules may be the better ones.
    """
    found = {}
    if solver.history > 2 or solver.corrector is not None:
        found["second-order"] = reference(solver)
    if solver.multistep:
        found["first-order"] = first_order(solver)
    return found


def _optima(
    profile: Profile,
    solver: Solver,
    steps: int,
    terminal: Terminal,
    choice: Choice,
    bounds: Sequence[float | None],
    *,
    start: int | None = None,
    name: str = "optimized",
) -> list[Candidate]:
    """Optima of one weight under several ratio bounds."""
    to_zero = terminal == "zero"
    table = tabulate(choice.cost(profile, solver.truncated(2)))
    found = []
    for bound in bounds:
        solution = solve(table, steps_max=steps, to_zero=to_zero, ratio_bound=bound)
        if solution.possible(steps, start=start):
            knots = solution.knots(steps, start=start)
            if solver.history > 2:
                cost = choice.cost(profile, solver)
                knots = polish(cost, knots, to_zero=to_zero, ratio_bound=bound)
            levels = profile.levels[knots]
            levels = np.append(levels, 0.0) if to_zero else levels
            found.append(Candidate(name, levels, replace(choice, ratio_bound=bound), method=solver))
    return found


def off_grid(profile: Profile, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates of a ladder on a grid as fine as the table's: the descent that costs no evaluation."""
    fine = refine_grid(profile, fineness(profile))
    return [_polished(fine, candidate) for candidate in candidates]


def fineness(profile: Profile) -> int:
    """How many times as fine as the measured grid the polish works."""
    return max(4, math.ceil(_FINE_LEVELS / (len(profile.levels) - 1)))


def _polished(fine: Profile, candidate: Candidate) -> Candidate:
    choice, method = candidate.choice, candidate.method
    if choice is None or method is None:
        return candidate
    to_zero = candidate.levels[-1] == 0
    positive = candidate.levels[:-1] if to_zero else candidate.levels
    knots = np.searchsorted(-fine.levels, -positive * (1 + 1e-9))
    cost = choice.cost(fine, method)
    # A start at the top was asked for.
    knots = polish(cost, knots, to_zero=bool(to_zero), ratio_bound=choice.ratio_bound, keep_start=knots[0] == 0)
    levels = fine.levels[knots]
    return replace(candidate, levels=np.append(levels, 0.0) if to_zero else levels)


def heat(solver: Solver, denoise: Denoise, candidates: Sequence[Candidate], noises: HeldOut, limit: int) -> list[Candidate]:
    """The race's first heat: on a few noises, pick whom it has room for.

    Args:
        solver: the real method.
        denoise: the model.
        candidates: the ladder, the default first.
        noises: the few noises that all of them run on.
        limit: how many are picked.

    Returns:
        The default and those of least mean error, in the ladder's order; of near-duplicates the better one alone.
    """
    errors = squared_errors(solver, denoise, np.stack([candidate.levels for candidate in candidates]), noises).mean(axis=1)
    picked = [0]
    for i in errors.argsort(kind="stable"):
        if len(picked) < limit and all(_distance(candidates[i].levels, candidates[j].levels) > _SAME for j in picked):
            picked.append(int(i))
    return [candidates[i] for i in sorted(picked)]


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
        optimized: candidates of the ladder; the first of them runs to the end.
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
            seeded = (next(i for i in order if alive[i].stock), int(entered.argmin()))
            order = np.array([*kept, *(i for i in dict.fromkeys(seeded) if i not in kept)])
        alive, errors = [alive[i] for i in order], errors[order]
        entered = entered[order]
    first = _first_of_the_tied(errors, entered, _BEATEN[solver.stochastic])
    ranking = [alive[first], *alive[:first], *alive[first + 1 :]]
    best_stock = next(candidate for candidate in ranking if candidate.stock)
    return Race(ranking, np.concatenate([errors[[first]], np.delete(errors, first, axis=0)]), best_stock)


def _first_of_the_tied(errors: Array, entered: Index, beaten: float) -> int:
    """The default, unless another beats it by so many standard errors of the paired difference; then the first that `_TIE` cannot tell.

    A few heavy-tailed noises cannot tell neighbours apart; without this the winner is the luckiest of many, and worse than the default.
    """
    difference = errors - errors[0]
    spread = difference.std(axis=1, ddof=1) / np.sqrt(errors.shape[1]) if errors.shape[1] > 1 else np.zeros(len(errors))
    lead, default = difference.mean(axis=1), int(entered.argmin())
    if lead[default] <= beaten * spread[default]:
        return default
    tied = np.flatnonzero(lead <= _TIE * spread)
    return int(tied[entered[tied].argmin()])
