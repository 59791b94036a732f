"""Judging schedules on fresh noises: the distance to the fine solution, and the quality of the samples as a set."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import Case, judge_of, load, negative_log_density
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample
from worker.ays.validate import HeldOut, hold_out
from worker.models.frechet import Moments, frechet

FINE_LEVELS = 96

_BATCH = 256


@dataclass
class Judged:
    """What one schedule did on the fresh noises.

    Attributes:
        errors: squared distance to the fine solution, of every noise.
        summaries: features or negative log-densities of its samples, chunk by chunk.
    """

    errors: list[Array] = field(default_factory=list)
    summaries: list[Tensor] = field(default_factory=list)


class Bench:
    """Fresh noises of one model and one kind of solver, solved finely once for all its schedules."""

    def __init__(self, case: Case, *, stochastic: bool) -> None:
        """Prepare; nothing is solved before the first question."""
        self._case, self._model = case, load(case.id)
        self._denoise = Evaluator(self._model.denoiser, batch=_BATCH)
        self._fine_solver = SOLVERS["sddim" if stochastic else "ddim"]
        self._chunks: list[HeldOut] = []

    def _noises(self) -> list[HeldOut]:
        low, high = self._model.process.sigma_min, self._model.process.sigma_max
        for start in range(sum(map(len, self._chunks)), self._case.noises, self._case.chunk):
            indices = range(start, min(start + self._case.chunk, self._case.noises))
            levels, shape = log_grid(high, low, FINE_LEVELS), self._denoise.shape
            drawn = {"indices": indices, "seed": 0, "stream": Stream.FRESH}
            self._chunks.append(hold_out(self._fine_solver, self._denoise, shape, levels=levels, terminal="zero", **drawn))
        return self._chunks

    def judge(self, solver: str, schedules: Array) -> list[dict[str, object]]:
        """Errors on every noise and the quality of the set, for schedules of shape (S, n + 1)."""
        found = [Judged() for _ in schedules]
        for noises in self._noises():
            samples = sample(SOLVERS[solver], self._denoise, schedules, noises.noise, brownian=noises.brownian)
            errors = (samples - noises.reference).flatten(2).square().sum(2).numpy()
            for judged, each, error in zip(found, samples, errors, strict=True):
                judged.errors.append(error)
                judged.summaries.append(self._summary(each))
        return [{"errors": np.concatenate(each.errors).tolist(), "quality": self._quality(each.summaries)} for each in found]

    def fine(self) -> float | None:
        """Quality of the fine solutions themselves."""
        return self._quality([self._summary(noises.reference) for noises in self._noises()])

    def _summary(self, samples: Tensor) -> Tensor:
        judge = judge_of(self._case.id)
        if judge is not None:
            return judge.features(samples)
        return negative_log_density(self._model)(samples)

    def _quality(self, summaries: list[Tensor]) -> float | None:
        joined = torch.cat(summaries)
        judge = judge_of(self._case.id)
        return float(joined.mean()) if judge is None else frechet(Moments.of(joined), judge.real)
