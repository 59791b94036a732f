"""The whole table of a profile: a schedule for every number of evaluations, every solver and both terminals."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import get_args

import numpy as np

from ays_client.contract import NFE_MAX, NFE_MIN, Schedule
from worker.ays.choice import Choice, default_choice
from worker.ays.ladder import fineness
from worker.ays.noise import Array
from worker.ays.optimize import Solution, polish_all, solve, spread
from worker.ays.profile.cost import Index, tabulate
from worker.ays.profile.profile import Profile, refine_grid
from worker.ays.schedule import Terminal, resample
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
        choice: what it was optimized for.
    """

    solver: Solver
    terminal: Terminal
    nfe: int
    levels: Array
    choice: Choice


def nearest_choice(profile: Profile, solver: Solver, terminal: Terminal, nfe: int, validated: Sequence[Schedule]) -> Choice:
    """Choice of the nearest validated cell: of the same solver before another of the same kind, of the same terminal before the other."""

    def distance(cell: Schedule) -> tuple[bool, bool, int]:
        return (cell.solver.value != solver.name, cell.terminal.value != terminal, abs(cell.nfe - nfe))

    fitting = [
        cell
        for cell in validated
        if SOLVERS[cell.solver].measure == solver.measure and cell.provenance.detail is not None
    ]  # fmt: skip
    default = default_choice(profile, solver)
    if not fitting:
        return default
    cell = min(fitting, key=distance)
    detail, knee = cell.provenance.detail, cell.provenance.knee
    assert detail is not None
    same = SOLVERS[cell.solver].multistep == solver.multistep
    return Choice(detail, inf if knee is None else knee, cell.provenance.ratio_bound if same else default.ratio_bound)


class Optimizer:
    """Schedules of one profile, solver, terminal and choice for any number of steps; the sweep is made once."""

    def __init__(self, profile: Profile, solver: Solver, terminal: Terminal, choice: Choice, *, steps_max: int) -> None:
        """Solve for all numbers of steps up to `steps_max`."""
        self._profile, self._to_zero, self._bound = profile, terminal == "zero", choice.ratio_bound
        table = tabulate(choice.cost(profile, solver.truncated(2)))
        self._solution: Solution = solve(table, steps_max=steps_max, to_zero=self._to_zero, ratio_bound=choice.ratio_bound)
        self._factor = fineness(profile)
        self._fine = choice.cost(refine_grid(profile, self._factor), solver)
        # The optimum of the measured grid is within a cell of the finer one's; that of a shorter history may be further away.
        self._reach = self._factor * (1 if solver.history <= 2 else 4)

    def levels(self, steps: int) -> Array:
        """Polished optimum, shape (steps + 1,)."""
        return self.all_levels([steps])[0]

    def all_levels(self, counts: Sequence[int]) -> list[Array]:
        """The same for several numbers of steps, polished side by side."""
        starts = [self._start(steps) for steps in counts]
        polished = polish_all(self._fine, starts, to_zero=self._to_zero, ratio_bound=self._bound, reach=self._reach)
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


def table(measured: Measured, validated: Sequence[Schedule], *, solver: str | None = None) -> Iterator[Cell]:
    """Compute every cell, with the detail of the nearest validated one.

    Args:
        measured: the profiles.
        validated: validated cells of the same profile.
        solver: name of the only solver to compute; None: all of them.
    """
    solved: dict[tuple[Solver, Terminal, Choice, tuple[int, ...]], list[Array]] = {}
    for method in SOLVERS.values() if solver is None else (SOLVERS[solver],):
        for terminal in get_args(Terminal):
            profile = measured.of(method.measure)
            for choice, counts in _choices(profile, method, terminal, validated).items():
                steps = [method.steps(nfe) for nfe in counts]
                # Solvers that differ in name only share their schedules.
                key = (replace(method, name=""), terminal, choice, tuple(steps))
                if key not in solved:
                    optimizer = Optimizer(profile, method, terminal, choice, steps_max=max(steps))
                    solved[key] = optimizer.all_levels(steps)
                for nfe, levels in zip(counts, solved[key], strict=True):
                    yield Cell(method, terminal, nfe, levels, choice)


def _choices(profile: Profile, solver: Solver, terminal: Terminal, validated: Sequence[Schedule]) -> dict[Choice, list[int]]:
    """Numbers of evaluations by what they are optimized for."""
    groups: dict[Choice, list[int]] = defaultdict(list)
    for nfe in range(NFE_MIN, NFE_MAX + 1):
        if solver.evaluations(solver.steps(nfe)) == nfe:
            groups[nearest_choice(profile, solver, terminal, nfe, validated)].append(nfe)
    return groups
