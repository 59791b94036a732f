"""Our answers, from the code that jobs run: `fast` is the guarded optimum of the profile, `standard` the default, searched."""

import time

from ays_client.contract import Effort, JobRequest
from ays_client.contract import Solver as SolverName
from benchmarks.baselines import Found
from benchmarks.hosts import Nowhere, Shelf
from worker.ays.denoise import Evaluator
from worker.ays.profile.profile import Profile
from worker.ays.search.search import Search
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks.guard import Guard
from worker.tasks.measure import Measured
from worker.tasks.stages import Stages
from worker.tasks.table import Cell, row
from worker.tasks.validation import Validation

_BATCH = 256


def guarded(request: JobRequest, model: LoadedModel, measured: Measured, denoise: Evaluator) -> Cell:
    """The cell of the guarded row that answers a request of effort `fast`; its evaluations are those of the whole row."""
    solver = SOLVERS[request.solver]
    guard = Guard(measured.of(solver.measure), model.process, denoise, request.seed, measured.paths)
    return next(cell for cell in guard.row(row(measured, solver, request.terminal.value)) if cell.nfe == request.nfe)


class Ours:
    """Our method on one model with one seed. A shard of the profile is measured once, and charged to every answer that uses it."""

    def __init__(self, model: LoadedModel, *, seed: int) -> None:
        """Prepare; nothing is measured before the first question.

        Args:
            model: the model.
            seed: seed of profile and search.
        """
        self._model, self._seed = model, seed
        self._denoise = Evaluator(model.denoiser, batch=_BATCH)
        self._shelf = Shelf()

    def schedule(self, effort: str, n: int, solver_name: str) -> Found:
        """The schedule of an effort, with all that it cost; the report is left out, since it changes no schedule.

        Args:
            effort: `fast`, `standard` or `max`.
            n: evaluations.
            solver_name: k-diffusion's name.
        """
        request = JobRequest(model=self._model.id, nfe=n, solver=SolverName(solver_name), effort=Effort(effort), seed=self._seed)
        measured, profile_seconds = self._shelf.measured(request, self._model, self._denoise)
        profile, started = measured.of(SOLVERS[solver_name].measure), time.process_time()
        if effort == Effort.FAST.value and not SOLVERS[solver_name].fitted:
            found = self._optimum(request, measured)
        else:
            found = self._searched(request, profile)
        return Found(found.levels, profile.evaluations + found.evaluations, profile_seconds + time.process_time() - started, found.weights)

    def _optimum(self, request: JobRequest, measured: Measured) -> Found:
        before = self._denoise.evaluations
        served = guarded(request, self._model, measured, self._denoise)
        return Found(served.levels, self._denoise.evaluations - before, 0.0)

    def _searched(self, request: JobRequest, profile: Profile) -> Found:
        paths = self._shelf.paths
        problem = Validation(request, self._model, profile, self._denoise, Stages(Nowhere()), paths=paths).problem
        *_, found = Search(problem, profile, self._model.process, request.effort.value, paths=paths).run()
        return Found(found.candidate.levels, found.evaluations, 0.0, found.candidate.weights)
