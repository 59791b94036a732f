"""The whole table of a profile: a schedule for every number of evaluations, every solver and both terminals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from ays_client.contract import NFE_MAX, NFE_MIN
from worker.ays.noise import Array
from worker.ays.profile.cost import Index, tabulate
from worker.ays.profile.profile import Profile, refine_grid
from worker.ays.schedule import Terminal, resample
from worker.ays.search.candidates import FITTED_EXPONENTS, fineness
from worker.ays.search.fitted import FittedCost
from worker.ays.search.shortest_path import Solution, coordinate_descent, solve, spread
from worker.ays.search.weight import ErrorWeight, default_weight
from worker.ays.solvers import SOLVERS, Solver
from worker.tasks.measure import Measured


@dataclass(frozen=True)
class Cell:
    """One cell of the table, computed but not validated.

    Attributes:
        solver: the method.
        terminal: where the last step ends.
        nfe: evaluations.
        levels: shape (steps + 1,).
        weight: what it was optimized for; None: a hand-made schedule is served in its place.
        stock: name of that schedule.
        reason: why it is.
        guarded: whether its row ran against hand-made schedules.
        weights: of the fitted solver's steps, shape (steps, history); None for every other solver.
    """

    solver: Solver
    terminal: Terminal
    nfe: int
    levels: Array
    weight: ErrorWeight | None
    stock: str | None = None
    reason: str | None = None
    guarded: bool = False
    weights: Array | None = None


class Optimizer:
    """Schedules of one profile, solver, terminal and weight for any number of steps; the sweep is made once."""

    def __init__(self, profile: Profile, solver: Solver, terminal: Terminal, weight: ErrorWeight, *, steps_max: int) -> None:
        """Solve for all numbers of steps up to `steps_max`."""
        self._profile, self._to_zero, self._bound = profile, terminal == "zero", weight.ratio_bound
        table = tabulate(weight.cost(profile, solver.truncated(2)))
        self._solution: Solution = solve(table, steps_max=steps_max, to_zero=self._to_zero, ratio_bound=weight.ratio_bound)
        self._factor = fineness(profile)
        self._fine = weight.cost(refine_grid(profile, self._factor), solver)
        # The optimum of the measured grid is within a cell of the finer one's; that of a shorter history may be further away.
        self._reach = self._factor * (1 if solver.history <= 2 else 4)

    def levels(self, steps: int) -> Array:
        """Polished optimum, shape (steps + 1,)."""
        return self.all_levels([steps])[0]

    def all_levels(self, counts: Sequence[int]) -> list[Array]:
        """The same for several numbers of steps, polished side by side."""
        starts = [self._start(steps) for steps in counts]
        polished = coordinate_descent(self._fine, starts, to_zero=self._to_zero, ratio_bound=self._bound, reach=self._reach)
        schedules = [self._fine.levels[knots] for knots in polished]
        return [np.append(levels, 0.0) if self._to_zero else levels for levels in schedules]

    def _start(self, steps: int) -> Index:
        if self._solution.possible(steps):
            return self._solution.knots(steps) * self._factor
        most = max(n for n in range(1, steps) if self._solution.possible(n))
        coarse = self._profile.levels[self._solution.knots(most)]
        wanted = resample(np.append(coarse, 0.0) if self._to_zero else coarse, steps)
        positive = wanted[wanted > 0]
        position = np.interp(-np.log(positive), -np.log(self._fine.levels), np.arange(len(self._fine.levels)))
        return spread(np.round(position).astype(np.intp), len(self._fine.levels) - 1)


def rows(measured: Measured) -> Iterator[list[list[Cell]]]:
    """Compute every cell with its default weight, row by row; the rows of solvers that differ in name only come together.

    Args:
        measured: the profiles.
    """
    alike: dict[Solver, list[Solver]] = {}
    for method in SOLVERS.values():
        alike.setdefault(replace(method, name=""), []).append(method)
    for methods in alike.values():
        for terminal in get_args(Terminal):
            found = row(measured, methods[0], terminal)
            yield [[replace(cell, solver=method) for cell in found] for method in methods]


def row(measured: Measured, method: Solver, terminal: Terminal) -> list[Cell]:
    """The cells of one solver and terminal, ascending in evaluations."""
    profile = measured.of(method.measure)
    most = len(profile.levels)
    counts = [n for n in range(NFE_MIN, NFE_MAX + 1) if method.evaluations(method.steps(n)) == n and method.steps(n) <= most]
    if method.fitted:
        return _fitted_row(profile, method, terminal, counts)
    weight, steps = default_weight(profile, method), [method.steps(nfe) for nfe in counts]
    schedules = Optimizer(profile, method, terminal, weight, steps_max=max(steps)).all_levels(steps)
    return [Cell(method, terminal, nfe, levels, weight) for nfe, levels in zip(counts, schedules, strict=True)]


def _fitted_row(profile: Profile, solver: Solver, terminal: Terminal, counts: Sequence[int]) -> list[Cell]:
    """The fitted solver with the weights that the profile alone gives."""
    cost, to_zero = FittedCost(profile), terminal == "zero"
    weight = ErrorWeight(FITTED_EXPONENTS[0])
    solution = solve(cost.table(weight.exponent), steps_max=max(counts), to_zero=to_zero)
    row = []
    for nfe in counts:
        if solution.possible(nfe):
            knots = solution.knots(nfe)
            levels = np.append(profile.levels[knots], 0.0) if to_zero else profile.levels[knots]
            row.append(Cell(solver, terminal, nfe, levels, weight, weights=cost.schedule_weights(knots, to_zero=to_zero)))
    return row
