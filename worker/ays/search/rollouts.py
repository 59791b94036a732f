"""One request's rollouts: a solver, a model, and the noises of one purpose, in parts that fit into memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.schedule import Terminal
from worker.ays.search.candidates import Candidate
from worker.ays.search.reference import ReferenceSet, deviations, reference_errors, reference_grid, solve_reference, squared_errors
from worker.ays.solvers import Solver

_MOST_VALUES = 2**26
"""Values of the samples that are solved side by side, at most: half a GiB in float64, a few times that with the solver's memory."""


@dataclass(frozen=True)
class Problem:
    """What a search is about.

    Attributes:
        solver: the method.
        denoise: counting evaluator of the model.
        steps: number of steps.
        terminal: where the last step ends.
        sigma_max: highest level that may be evaluated.
        sigma_min: lowest level that is evaluated.
        seed: seed of all noises.
    """

    solver: Solver
    denoise: Evaluator
    steps: int
    terminal: Terminal
    sigma_max: float
    sigma_min: float
    seed: int

    def references(self, stream: Stream, indices: range, intervals: int, *, keep_states: bool = False) -> ReferenceSet:
        """Solve noises of a stream on a grid of so many intervals."""
        return solve_reference(
            self.solver,
            self.denoise,
            self.denoise.shape,
            levels=reference_grid(self.sigma_max, self.sigma_min, intervals),
            terminal=self.terminal,
            indices=indices,
            seed=self.seed,
            stream=stream,
            keep_states=keep_states,
        )

    def reference_errors(self, references: ReferenceSet) -> Array:
        """Squared errors of references by Richardson's rule, shape (n,)."""
        return reference_errors(self.solver, self.denoise, references, self.terminal)

    def deviations(self, levels: Array, weights: Array | None, references: ReferenceSet) -> Tensor:
        """Distance vectors of schedules, shape (S, n, dim)."""
        return deviations(self.solver, self.denoise, levels, references, weights)

    def errors(self, candidates: Sequence[Candidate], references: ReferenceSet) -> Array:
        """Squared errors of candidates, shape (S, n)."""
        together = max(1, _MOST_VALUES // (len(references) * int(np.prod(self.denoise.shape))))
        rows = [candidates[start : start + together] for start in range(0, len(candidates), together)]
        return np.concatenate([self._errors(row, references) for row in rows])

    def _errors(self, candidates: Sequence[Candidate], references: ReferenceSet) -> Array:
        weights = None
        if self.solver.fitted:
            weights = np.stack([each.weights for each in candidates if each.weights is not None])
        levels = np.stack([each.levels for each in candidates])
        return squared_errors(self.solver, self.denoise, levels, references, weights)
