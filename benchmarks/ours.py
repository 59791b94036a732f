"""Our answers, from the code that jobs run: `fast` is the profile's optimum alone, `standard` what a job answers by default."""

import time

from ays_client.contract import Effort, JobRequest, Solver
from benchmarks.baselines import Found
from benchmarks.hosts import Nowhere, Shelf
from worker.ays.choice import default_choice
from worker.ays.denoise import Evaluator
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks.stages import Stages
from worker.tasks.table import Optimizer
from worker.tasks.validation import Validator

_BATCH = 256


class Ours:
    """Our method on one model with one seed. A shard of the profile is measured once, and charged to every answer that uses it."""

    def __init__(self, model: LoadedModel, *, seed: int) -> None:
        """Prepare; nothing is measured before the first question.

        Args:
            model: the model.
            seed: seed of profile, search and judge.
        """
        self._model, self._seed = model, seed
        self._denoise = Evaluator(model.denoiser, batch=_BATCH)
        self._shelf = Shelf()

    def schedule(self, effort: str, n: int, solver_name: str) -> Found:
        """The schedule of an effort, with all that it cost.

        Args:
            effort: `fast` or `standard`.
            n: evaluations.
            solver_name: k-diffusion's name.
        """
        solver = SOLVERS[solver_name]
        request = JobRequest(model=self._model.id, nfe=n, solver=Solver(solver_name), effort=Effort(effort), seed=self._seed)
        profile, profile_seconds = self._shelf.measured(request, self._model, self._denoise)
        started = time.process_time()
        if effort == Effort.FAST.value:
            levels = Optimizer(profile, solver, "zero", default_choice(profile, solver), steps_max=n).levels(n)
            return Found(levels, profile.evaluations, profile_seconds + time.process_time() - started)
        verdict = Validator(request, self._model, profile, self._denoise, Stages(Nowhere())).search()
        evaluations = profile.evaluations + verdict.evaluations
        return Found(verdict.levels, evaluations, profile_seconds + time.process_time() - started)
