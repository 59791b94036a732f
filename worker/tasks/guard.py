"""The guard of everything unvalidated: a thin row of a solver against hand-made schedules, on the profile's own paths.

The optimum of a cost is not always better than habit. Where it loses on a few noises, or lies between two that lose, the hand-made schedule
is served in its place, with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.ays.denoise import Evaluator
from worker.ays.noise import NoiseProcess
from worker.ays.paths import Stream
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, stock_candidates
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.rollouts import Problem
from worker.ays.search.statistics import robust_loss, tail_scale
from worker.tasks.table import Cell

THIN_ROW = (5, 8, 12, 20)
"""Steps that run; the others follow from their neighbours."""
NOISES = 8
"""Paths of the profile that tell a loss: cells that lose by a few per cent pass."""
STOCK = 3
"""Hand-made schedules that run, those of least cost from the profile."""
REASON = "on the profile's own paths the optimum has a larger error than this schedule"


@dataclass(frozen=True)
class Guard:
    """Runs cells of one model.

    Attributes:
        profile: moments along the solver's path measure.
        process: the model's noise process.
        denoise: evaluator of the model.
        seed: seed of the noises.
        paths: the flow's paths, as far as they were kept.
    """

    profile: Profile
    process: NoiseProcess
    denoise: Evaluator
    seed: int
    paths: ReferenceSet | None = None

    def row(self, cells: Sequence[Cell]) -> list[Cell]:
        """Cells of one solver and terminal, those that lose with a hand-made schedule in their place.

        Args:
            cells: ascending in steps.
        """
        thin = [cell for cell in cells if len(cell.levels) - 1 in THIN_ROW]
        if not thin:
            return list(cells)
        references = self._references(self._problem(thin[0]))
        lost = {len(cell.levels) - 1: self._winner(cell, references) is not None for cell in thin}
        steps = np.array(sorted(lost))
        return [self._served(cell, steps, lost) for cell in cells]

    def cell(self, cell: Cell) -> Cell:
        """A cell by itself: it runs, whatever its number of steps."""
        winner = self._winner(cell, self._references(self._problem(cell)))
        return cell if winner is None else replace(cell, levels=winner.levels, weight=None, stock=winner.name, reason=REASON)

    def _served(self, cell: Cell, steps: np.ndarray[tuple[int, ...], np.dtype[np.int64]], lost: dict[int, bool]) -> Cell:
        own = len(cell.levels) - 1
        below, above = steps[steps <= own], steps[steps >= own]
        neighbours = [lost[int(near)] for near in (*below[-1:], *above[:1])]
        if len(below) == 0 or len(above) == 0 or not all(neighbours):
            return cell
        best = self._stock(self._problem(cell))[0]
        return replace(cell, levels=best.levels, weight=None, stock=best.name, reason=REASON)

    def _winner(self, cell: Cell, references: ReferenceSet) -> Candidate | None:
        """The hand-made schedule with a smaller robust loss than the cell's; None: there is none."""
        problem = self._problem(cell)
        stock = self._stock(problem)
        errors = problem.errors([Candidate("optimized", cell.levels), *stock], references)
        loss = robust_loss(errors, tail_scale(errors[0])).mean(axis=1)
        best = int(loss.argmin())
        return None if best == 0 else stock[best - 1]

    def _stock(self, problem: Problem) -> list[Candidate]:
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        found = stock_candidates(self.profile, problem.solver, problem.steps, **span, terminal=problem.terminal, process=self.process)
        return found[:STOCK]

    def _problem(self, cell: Cell) -> Problem:
        high, low = float(self.profile.levels[0]), float(self.profile.levels[-1])
        return Problem(cell.solver, self.denoise, len(cell.levels) - 1, cell.terminal, high, low, self.seed)

    def _references(self, problem: Problem) -> ReferenceSet:
        intervals = len(self.profile.levels) - 1
        if not problem.solver.stochastic and problem.terminal == "zero" and self.paths is not None and len(self.paths) >= NOISES:
            return self.paths.part(0, NOISES)
        stream = Stream.TRAINING if problem.solver.stochastic else Stream.PROFILE
        return problem.references(stream, range(NOISES), intervals)
