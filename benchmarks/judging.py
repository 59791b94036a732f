"""Schedules on fresh noises: the distance to the reference, and the quality of the samples as a set."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from benchmarks.cases import Case, judge_of, load, negative_log_density
from benchmarks.fresh import FreshNoises
from worker.ays.denoise import Evaluator
from worker.ays.search.candidates import Candidate
from worker.ays.solvers import SOLVERS
from worker.models.frechet import Moments, frechet

INTERVALS = 128
"""Intervals of the references' grid: 20 evaluations are far coarser, and the largest networks need minutes for it."""

_BATCH = 256


class Bench:
    """Fresh noises of one model and one kind of solver, whose references serve all its schedules."""

    def __init__(self, case: Case, *, stochastic: bool) -> None:
        """Prepare; nothing is solved before the first question."""
        self._case, self._model = case, load(case.id)
        denoise = Evaluator(self._model.denoiser, batch=_BATCH)
        self._fresh = FreshNoises(self._model, denoise, noises=case.noises, intervals=INTERVALS)
        self._kind = SOLVERS["sddim" if stochastic else "ddim"]

    def judge(self, solver: str, schedules: Sequence[list[float]]) -> list[dict[str, object]]:
        """Errors on every noise and the quality of the set, for schedules of n + 1 levels each."""
        return [self._judged(solver, Candidate("schedule", np.array(levels))) for levels in schedules]

    def fine(self) -> float | None:
        """Quality of the references themselves."""
        return self._quality(self._fresh.references(self._kind))

    def _judged(self, solver: str, candidate: Candidate) -> dict[str, object]:
        samples = self._fresh.samples(SOLVERS[solver], candidate)
        errors = (samples - self._fresh.references(SOLVERS[solver])).flatten(1).square().sum(1)
        return {"errors": errors.tolist(), "quality": self._quality(samples)}

    def _quality(self, samples: Tensor) -> float | None:
        judge = judge_of(self._case.id)
        if judge is None:
            return float(negative_log_density(self._model)(samples).mean())
        return frechet(Moments.of(judge.features(samples)), judge.real)
