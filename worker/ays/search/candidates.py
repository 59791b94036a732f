r"""Candidates: schedules worth a rollout, from one profile and from habit.

The converged minimizer of the bound is a bad image schedule (the paper stops early by eye, Appendix A.3). The weight of errors and the
bound on the ratio of successive steps take that role: each of them has one more exact minimizer on the same profile. The costs of simpler
methods have candidates too, since a cost along the true path does not see how a long history amplifies earlier errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.ays.noise import Array, NoiseProcess
from worker.ays.profile.cost import Index, tabulate
from worker.ays.profile.curve import Curve, entropic
from worker.ays.profile.profile import Profile, refine_grid
from worker.ays.schedule import Terminal, moved_ends, stock_schedules
from worker.ays.search.fitted import FittedCost
from worker.ays.search.shortest_path import coordinate_descent, solve, spread
from worker.ays.search.weight import RATIO_BOUNDS, ErrorWeight, default_weight, weight_grid
from worker.ays.solvers import SOLVERS, Solver, first_order, second_order
from worker.ays.solvers.fitted import printed_weights

FINE_LEVELS = 256
"""Levels of the interpolated profile on which knots leave the measured grid: a quarter of a cell of the default grid."""
MOVED_ENDS = 4
"""Hand-made schedules with moved ends that run at all: those of least cost from the profile."""
FITTED_EXPONENTS = (1.8, 1.4, 1.0)
"""Exponents of the fitted solver's starts, the default first: with 1.8 the fewest samples end in another mode of the data, with 1.0 the
bulk of low-dimensional samples is nearest."""
FITTED_MEMBERS = ("unipc", "dpmpp_2m", "unipc_3", "dpmpp_3m")
"""Printed methods that the fitted solver starts from, too, with their own best schedules; the likeliest first."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A schedule that the search may answer with.

    Attributes:
        name: `optimized`, `entropic`, `optimized (first-order cost)`, `fitted`, `fitted (unipc)` ..., or a stock schedule's name.
        levels: shape (N + 1,).
        weight: what it was optimized for; None: nothing of the profile's.
        stock: whether it is hand-made.
        method: the solver whose cost it minimizes; None where nobody asks.
        weights: of the fitted solver's steps, shape (N, history); None for every other solver.
    """

    name: str
    levels: Array
    weight: ErrorWeight | None = None
    stock: bool = False
    method: Solver | None = None
    weights: Array | None = None


def optimal_levels(profile: Profile, solver: Solver, steps: int, *, terminal: Terminal, weight: ErrorWeight) -> Array:
    """Optimum on the profile's grid, shape (steps + 1,): exact for a history of at most two, else a descent from there.

    Raises:
        ValueError: there is none of so many steps.
    """
    found = _optima(profile, solver, steps, terminal, weight, [weight.ratio_bound])
    if not found:
        msg = f"received steps={steps} for {len(profile.levels)} levels; expected fewer steps than levels; measure on a finer grid"
        raise ValueError(msg)
    return found[0].levels


def fixed_candidates(profile: Profile, solver: Solver, steps: int, *, terminal: Terminal) -> list[Candidate]:
    """Candidates of a fixed solver from its profile, the default first; weights for which no schedule exists are left out."""
    default, *others = weight_grid(profile, solver)
    bounds = RATIO_BOUNDS if solver.multistep else (None,)
    found = _optima(profile, solver, steps, terminal, default, bounds)
    found += _optima(profile, solver, steps, terminal, default, bounds[:1], start=0)
    for weight in others:
        found += _optima(profile, solver, steps, terminal, weight, bounds[:1])
    for name, method in _simpler(solver).items():
        for weight in weight_grid(profile, method):
            found += _optima(profile, method, steps, terminal, weight, [weight.ratio_bound], name=f"optimized ({name} cost)")
    if profile.moments[0, 0] > 0:
        found.append(Candidate("entropic", _entropic(profile, steps, terminal)))
    return found


class StockSchedules:
    """Hand-made schedules of one solver and range, those of least cost from the profile first."""

    def __init__(self, profile: Profile, solver: Solver, process: NoiseProcess, *, sigma_max: float, sigma_min: float) -> None:
        """Prepare the cost that orders them.

        Args:
            profile: moments along the solver's path measure.
            solver: the method.
            process: the model's noise process, which decides what people run.
            sigma_max: highest level that may be evaluated.
            sigma_min: lowest level that is evaluated.
        """
        method = second_order(solver) if solver.fitted else solver
        self._cost = default_weight(profile, method).cost(refine_grid(profile, fineness(profile)), method)
        self._process, self._span = process, {"sigma_max": sigma_max, "sigma_min": sigma_min}

    def candidates(self, steps: int, terminal: Terminal) -> list[Candidate]:
        """All that people run on this kind of model, and of EDM's and log-SNR's with moved ends those that cost least."""
        found = stock_schedules(steps, **self._span, terminal=terminal, process=self._process)
        moved = moved_ends(steps, **self._span, terminal=terminal)
        totals = self._cost.totals([self._knots(levels) for levels in (found | moved).values()], to_zero=terminal == "zero")
        costs = dict(zip(found | moved, totals, strict=True))
        likely = sorted(moved, key=lambda name: costs[name])[:MOVED_ENDS]
        names = sorted([*found, *likely], key=lambda name: costs[name])
        return [Candidate(name, (found | moved)[name], stock=True) for name in names]

    def _knots(self, levels: Array) -> Index:
        fine = self._cost.levels
        return spread(np.searchsorted(-fine, -levels[levels > 0] * (1 + 1e-9)), len(fine) - 1)


def fitted_candidates(profile: Profile, steps: int, *, terminal: Terminal) -> list[Candidate]:
    """Levels and weights of the fitted solver that the profile alone gives: of least cost, and printed methods at their best levels."""
    to_zero = terminal == "zero"
    cost, found = FittedCost(profile), []
    for exponent in FITTED_EXPONENTS:
        solution = solve(cost.table(exponent), steps_max=steps, to_zero=to_zero)
        if solution.possible(steps):
            knots = solution.knots(steps)
            levels = np.append(profile.levels[knots], 0.0) if to_zero else profile.levels[knots]
            weights = cost.schedule_weights(knots, to_zero=to_zero)
            found.append(Candidate("fitted", levels, ErrorWeight(exponent), weights=weights))
    return found + fitted_members(profile, steps, terminal=terminal)


def fitted_members(profile: Profile, steps: int, *, terminal: Terminal) -> list[Candidate]:
    """Printed methods, each at its own best levels, as the fitted solver runs them."""
    found = []
    for name in FITTED_MEMBERS:
        for candidate in _optima(profile, SOLVERS[name], steps, terminal, weight_grid(profile, SOLVERS[name])[0], RATIO_BOUNDS[:1]):
            weights = printed_weights(SOLVERS[name], candidate.levels)
            found.append(replace(candidate, name=f"fitted ({name})", weights=weights))
    return found


def off_grid(profile: Profile, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that minimize a cost, descended to a finer grid than the measured one; it costs no evaluation."""
    fine = refine_grid(profile, fineness(profile))
    return [_descended(fine, candidate) for candidate in candidates]


def fineness(profile: Profile) -> int:
    """How many times as fine as the measured grid the descent works."""
    return max(4, math.ceil(FINE_LEVELS / (len(profile.levels) - 1)))


def _entropic(profile: Profile, steps: int, terminal: Terminal) -> Array:
    """Even steps of rescaled entropic time (theory 15), which the loss alone decides: a good start where errors cancel unseen."""
    sigma, loss = profile.levels[::-1], np.diag(profile.moments)[::-1]
    span = {"sigma_max": float(profile.levels[0]), "sigma_min": float(profile.levels[-1])}
    return entropic(Curve.fitted(sigma, loss), steps, **span, terminal=terminal)


def _simpler(solver: Solver) -> dict[str, Solver]:
    """Simpler methods with the same noise, by name."""
    found = {}
    if solver.history > 2 or solver.corrector is not None:
        found["second-order"] = second_order(solver)
    if solver.multistep:
        found["first-order"] = first_order(solver)
    return found


def _optima(
    profile: Profile,
    solver: Solver,
    steps: int,
    terminal: Terminal,
    weight: ErrorWeight,
    bounds: Sequence[float | None],
    *,
    start: int | None = None,
    name: str = "optimized",
) -> list[Candidate]:
    """Optima of one weight under several ratio bounds."""
    to_zero = terminal == "zero"
    table = tabulate(weight.cost(profile, solver.truncated(2)))
    found = []
    for bound in bounds:
        solution = solve(table, steps_max=steps, to_zero=to_zero, ratio_bound=bound)
        if solution.possible(steps, start=start):
            knots = solution.knots(steps, start=start)
            if solver.history > 2:
                knots = coordinate_descent(weight.cost(profile, solver), [knots], to_zero=to_zero, ratio_bound=bound)[0]
            levels = profile.levels[knots]
            levels = np.append(levels, 0.0) if to_zero else levels
            found.append(Candidate(name, levels, replace(weight, ratio_bound=bound), method=solver))
    return found


def _descended(fine: Profile, candidate: Candidate) -> Candidate:
    weight, method = candidate.weight, candidate.method
    if weight is None or method is None or candidate.weights is not None:
        return candidate
    to_zero = bool(candidate.levels[-1] == 0)
    positive = candidate.levels[:-1] if to_zero else candidate.levels
    knots = np.searchsorted(-fine.levels, -positive * (1 + 1e-9))
    cost = weight.cost(fine, method)
    # A start at the top was asked for.
    knots = coordinate_descent(cost, [knots], to_zero=to_zero, ratio_bound=weight.ratio_bound, keep_start=knots[0] == 0)[0]
    levels = fine.levels[knots]
    return replace(candidate, levels=np.append(levels, 0.0) if to_zero else levels)
