"""The guard of everything unvalidated: a thin row of a solver against hand-made schedules, on the profile's own paths.

The optimum of a cost is not always better than habit. Where it loses on a few noises, or lies beside one that loses, the hand-made schedule
is served in its place, with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from worker.ays.denoise import Evaluator
from worker.ays.noise import NoiseProcess
from worker.ays.paths import Stream
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, StockSchedules
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.rollouts import Problem
from worker.ays.search.statistics import robust_loss, tail_scale
from worker.ays.solvers import Solver
from worker.tasks.table import Cell

THIN_ROW = (4, 6, 8, 12, 20)
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
    _schedules: dict[Solver, StockSchedules] = field(default_factory=dict, init=False)

    def row(self, cells: Sequence[Cell]) -> list[Cell]:
        """Cells of one solver and terminal, those that lose with a hand-made schedule in their place.

        Args:
            cells: ascending in steps.
        """
        thin = [cell for cell in cells if len(cell.levels) - 1 in THIN_ROW]
        if not thin:
            return list(cells)
        references = self._references(self._problem(thin[0]))
        winners = {len(cell.levels) - 1: self._winner(cell, references) for cell in thin}
        return [self._served(cell, winners) for cell in cells]

    def _served(self, cell: Cell, winners: dict[int, Candidate | None]) -> Cell:
        """The cell where all its neighbours in the thin row win, else the hand-made schedule that wins there."""
        own = len(cell.levels) - 1
        near = {max((n for n in winners if n <= own), default=None), min((n for n in winners if n >= own), default=None)}
        found = [winners[n] for n in sorted(n for n in near if n is not None)]
        names = [winner.name for winner in found if winner is not None]
        if not names:
            return replace(cell, guarded=True)
        stock = self._stock(self._problem(cell))
        best = next((each for each in stock if each.name in names), stock[0])
        return replace(cell, levels=best.levels, weight=None, stock=best.name, reason=REASON, guarded=True)

    def _winner(self, cell: Cell, references: ReferenceSet) -> Candidate | None:
        """The hand-made schedule with a smaller robust loss than the cell's; None: there is none."""
        problem = self._problem(cell)
        stock = self._stock(problem)[:STOCK]
        errors = problem.errors([Candidate("optimized", cell.levels), *stock], references)
        loss = robust_loss(errors, tail_scale(errors[0])).mean(axis=1)
        best = int(loss.argmin())
        return None if best == 0 else stock[best - 1]

    def _stock(self, problem: Problem) -> list[Candidate]:
        if problem.solver not in self._schedules:
            span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
            self._schedules[problem.solver] = StockSchedules(self.profile, problem.solver, self.process, **span)
        return self._schedules[problem.solver].candidates(problem.steps, problem.terminal)

    def _problem(self, cell: Cell) -> Problem:
        high, low = float(self.profile.levels[0]), float(self.profile.levels[-1])
        return Problem(cell.solver, self.denoise, len(cell.levels) - 1, cell.terminal, high, low, self.seed)

    def _references(self, problem: Problem) -> ReferenceSet:
        intervals = len(self.profile.levels) - 1
        if not problem.solver.stochastic and problem.terminal == "zero" and self.paths is not None and len(self.paths) >= NOISES:
            return self.paths.part(0, NOISES)
        stream = Stream.TRAINING if problem.solver.stochastic else Stream.PROFILE
        return problem.references(stream, range(NOISES), intervals)
