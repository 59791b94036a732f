"""Our answers, from the code that jobs run: `fast` is the profile's optimum alone, `standard` what a job answers by default."""

import time

from ays_client.contract import Effort, JobRequest, Solver, Variant
from benchmarks.baselines import Found
from benchmarks.quality import Nowhere
from worker.ays.choice import default_choice
from worker.ays.denoise import Evaluator
from worker.ays.solvers import SOLVERS
from worker.measure import Measured, measure
from worker.models.loaded import LoadedModel
from worker.stages import Stages
from worker.table import Optimizer
from worker.validation import Validator

_BATCH = 256


class Ours:
    """Our method on one model with one seed; the profile is measured once, and charged to every answer in full."""

    def __init__(self, model: LoadedModel, *, seed: int) -> None:
        """Prepare; nothing is measured before the first question.

        Args:
            model: the model.
            seed: seed of profile, search and judge.
        """
        self._model, self._seed = model, seed
        self._denoise = Evaluator(model.denoiser, batch=_BATCH)
        self._measured: tuple[Measured, float] | None = None

    def _profile(self) -> tuple[Measured, float]:
        if self._measured is None:
            started = time.process_time()
            variant = Variant(model=self._model.id, seed=self._seed)
            self._measured = measure(variant, self._model, self._denoise, Nowhere()), time.process_time() - started
        return self._measured

    def schedule(self, effort: str, n: int, solver_name: str) -> Found:
        """The schedule of an effort, with all that it cost.

        Args:
            effort: `fast` or `standard`.
            n: evaluations.
            solver_name: k-diffusion's name.
        """
        measured, profile_seconds = self._profile()
        solver, started = SOLVERS[solver_name], time.process_time()
        profile = measured.of(solver.measure)
        if effort == Effort.FAST.value:
            levels = Optimizer(profile, solver, "zero", default_choice(profile, solver), steps_max=n).levels(n)
            return Found(levels, profile.evaluations, profile_seconds + time.process_time() - started)
        request = JobRequest(model=self._model.id, nfe=n, solver=Solver(solver_name), effort=Effort(effort), seed=self._seed)
        verdict = Validator(request, self._model, profile, self._denoise, Stages(Nowhere())).search()
        evaluations = profile.evaluations + verdict.evaluations
        return Found(verdict.levels, evaluations, profile_seconds + time.process_time() - started)
