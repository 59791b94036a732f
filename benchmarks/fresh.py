"""Fresh noises: those that neither profile nor search nor report has seen, with references finer than any of theirs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.search.candidates import Candidate
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.rollouts import Problem
from worker.ays.solvers import Solver
from worker.models.loaded import LoadedModel

INTERVALS = 512
"""Intervals of their references: four times as many as a report's reference has at least."""
SEED = 0

_MOST_VALUES = 2**26
"""Values of the Brownian paths of the noises that are solved together, at most: half a GiB."""
_POINTS_AN_INTERVAL = 4
_ROWS = 1024
_CHECKED = 64


class FreshNoises:
    """Fresh noises of one model; the references of each kind of noise are solved once."""

    def __init__(self, model: LoadedModel, denoise: Evaluator, *, noises: int, intervals: int = INTERVALS) -> None:
        """Prepare; nothing is solved before the first question.

        Args:
            model: the model.
            denoise: its evaluator.
            noises: how many.
            intervals: of the references' grid, even.
        """
        self._process, self._denoise, self.noises, self._intervals = model.process, denoise, noises, intervals
        self._solved: dict[str, list[ReferenceSet]] = {}

    def problem(self, solver: Solver, steps: int) -> Problem:
        """The rollouts of a solver from these noises."""
        return Problem(solver, self._denoise, steps, "zero", self._process.sigma_max, self._process.sigma_min, SEED)

    def parts(self, solver: Solver) -> Iterator[ReferenceSet]:
        """The noises with their references, in parts that fit into memory."""
        solved = self._solved.setdefault(solver.noise.name, [])
        yield from solved
        start = sum(map(len, solved))
        points = _POINTS_AN_INTERVAL * self._intervals if solver.stochastic else 1
        rows = int(np.clip(_MOST_VALUES // (points * int(np.prod(self._denoise.shape))), 1, _ROWS))
        while start < self.noises:
            stop = min(start + rows, self.noises)
            solved.append(self.problem(solver, 1).references(Stream.FRESH, range(start, stop), self._intervals))
            yield solved[-1]
            start = stop

    def errors(self, solver: Solver, candidates: Sequence[Candidate]) -> Array:
        """Squared errors of candidates of the same number of steps, shape (S, noises)."""
        problem = self.problem(solver, len(candidates[0].levels) - 1)
        return np.concatenate([problem.errors(candidates, part) for part in self.parts(solver)], axis=1)

    def samples(self, solver: Solver, candidate: Candidate) -> Tensor:
        """Samples of a candidate, shape (noises, *shape)."""
        problem = self.problem(solver, len(candidate.levels) - 1)
        weights = None if candidate.weights is None else candidate.weights[None]
        parts = [
            problem.deviations(candidate.levels[None], weights, part)[0].reshape(part.reference.shape) + part.reference
            for part in self.parts(solver)
        ]
        return torch.cat(parts)

    def references(self, solver: Solver) -> Tensor:
        """The references themselves, shape (noises, *shape)."""
        return torch.cat([part.reference for part in self.parts(solver)])

    def reference_error(self, solver: Solver) -> float:
        """Mean squared error of the references by Richardson's rule, from some of them."""
        first = next(self.parts(solver))
        return float(self.problem(solver, 1).reference_errors(first.part(0, min(_CHECKED, len(first)))).mean())


def schedule_body(candidate: Candidate) -> dict[str, Any]:
    """Levels and weights of a candidate as JSON values."""
    return {"levels": candidate.levels.tolist(), "weights": None if candidate.weights is None else candidate.weights.tolist()}


def schedule_of(name: str, body: dict[str, Any]) -> Candidate:
    """The candidate of a body."""
    weights = None if body["weights"] is None else np.array(body["weights"])
    return Candidate(name, np.array(body["levels"]), weights=weights)
