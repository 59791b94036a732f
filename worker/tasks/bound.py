"""The KL upper bound of schedules and of hand-made ones, read off a profile: what Align Your Steps minimizes (p = 0)."""

from collections.abc import Sequence
from itertools import groupby

from ays_client.contract import Estimate, Klub
from worker.ays.noise import Array
from worker.ays.profile.profile import Profile
from worker.ays.schedule import Terminal, edm, log_snr
from worker.ays.search.candidates import Candidate
from worker.ays.search.stability import Jackknife
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import SDE, SOLVERS, Solver
from worker.tasks.table import Cell

_PAPER = ErrorWeight(0.0)


class Bounds:
    """Bounds of a model's schedules, with the standard errors that the profile's paths give.

    A bound is the solver's own where the solver's noise is that of the reverse SDE, else that of stochastic DDIM, the paper's.
    """

    def __init__(self, forward: Profile) -> None:
        """Prepare for schedules of a profile, the moments along forward paths."""
        self._costs = Jackknife(forward)
        self._span = {"sigma_max": float(forward.levels[0]), "sigma_min": float(forward.levels[-1])}
        self._known: dict[tuple[str, Terminal, int], dict[str, Estimate]] = {}

    def of(self, solver: Solver, levels: Array, stock: Sequence[Candidate]) -> Klub:
        """Of one schedule, shape (N + 1,), beside hand-made ones that end alike."""
        ours, *others = self._bounds(solver, [levels, *(each.levels for each in stock)])
        return Klub(ours=ours, stock={each.name: bound for each, bound in zip(stock, others, strict=True)})

    def row(self, cells: Sequence[Cell]) -> list[Klub]:
        """Of the cells of one solver and terminal, each beside EDM's and log-SNR's schedules of as many steps."""
        if not cells:
            return []
        solver, terminal = cells[0].solver, cells[0].terminal
        self._know(solver, terminal, [len(cell.levels) - 1 for cell in cells])
        ours = self._bounds(solver, [cell.levels for cell in cells])
        name = _method(solver).name
        return [Klub(ours=bound, stock=self._known[name, terminal, len(cell.levels) - 1]) for cell, bound in zip(cells, ours, strict=True)]

    def _know(self, solver: Solver, terminal: Terminal, counts: Sequence[int]) -> None:
        name = _method(solver).name
        new = [steps for steps in counts if (name, terminal, steps) not in self._known]
        stock = [
            (steps, rule.__name__, rule(steps, **self._span, terminal=terminal)) for steps in new for rule in (edm, log_snr) if steps > 1
        ]
        bounds = self._bounds(solver, [levels for _, _, levels in stock]) if stock else []
        self._known |= {(name, terminal, steps): {} for steps in new}
        for steps, found in groupby(zip(stock, bounds, strict=True), key=lambda each: each[0][0]):
            self._known[name, terminal, steps] = {rule: bound for (_, rule, _), bound in found}

    def _bounds(self, solver: Solver, schedules: Sequence[Array]) -> list[Estimate]:
        found = self._costs.costs_of(_method(solver), _PAPER, schedules)
        return [Estimate(mean=each.mean, standard_error=min(each.standard_error, 1e300)) for each in found]


def _method(solver: Solver) -> Solver:
    return solver if solver.noise is SDE else SOLVERS["sddim"]
