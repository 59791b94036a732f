r"""Validation: the real solver, with a candidate schedule, against the fine solution from the same starting noise.

For stochastic solvers both are driven by the same Brownian path, the coarse step by the sum of the fine increments. The error of a
sample is its squared distance to the fine solution, summed over dimensions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import along
from worker.ays.noise import Array
from worker.ays.paths import Brownian, Stream, brownian, starting_noise
from worker.ays.schedule import Terminal
from worker.ays.solvers import Denoise, Solver, reference, sample, trajectory

_BROWNIAN_REFINEMENT = 4


@dataclass(frozen=True)
class Mean:
    """A Monte-Carlo estimate: mean and the standard error of that mean."""

    mean: float
    standard_error: float


def estimate(values: Array) -> Mean:
    """Mean of independent values with its standard error (infinite for a single one); values of shape (n,)."""
    spread = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Mean(float(values.mean()), spread)


@dataclass(frozen=True)
class FinePath:
    """Fine solutions on their way.

    Attributes:
        levels: strictly decreasing, > 0, shape (G,).
        states: shape (G, n, *shape).
        estimates: the denoiser there, shape (G, n, *shape).
    """

    levels: Array
    states: Tensor
    estimates: Tensor

    def part(self, start: int, stop: int) -> "FinePath":
        """The solutions from `start` up to `stop`."""
        return FinePath(self.levels, self.states[:, start:stop], self.estimates[:, start:stop])

    def joined(self, other: "FinePath") -> "FinePath":
        """These solutions, then others on the same levels."""
        states, estimates = torch.cat([self.states, other.states], dim=1), torch.cat([self.estimates, other.estimates], dim=1)
        return FinePath(self.levels, states, estimates)


@dataclass(frozen=True)
class HeldOut:
    """Starting noises with their fine solutions.

    Attributes:
        noise: standard normal, shape (n, *shape), float64.
        reference: fine solutions at the terminal level, shape (n, *shape).
        brownian: the paths that drove them, for stochastic solvers.
        indices: which samples they are, length n; a conditional model's conditions follow from them.
        path: the fine solutions of the first of them on their way, as many as were kept.
    """

    noise: Tensor
    reference: Tensor
    brownian: Brownian | None
    indices: tuple[int, ...]
    path: FinePath | None = None

    def __len__(self) -> int:
        """Number of noises."""
        return len(self.noise)

    def part(self, start: int, stop: int) -> "HeldOut":
        """The noises from `start` up to `stop`."""
        paths = None if self.brownian is None else replace(self.brownian, w=self.brownian.w[:, start:stop])
        kept = None if self.path is None else self.path.part(start, stop)
        return HeldOut(self.noise[start:stop], self.reference[start:stop], paths, self.indices[start:stop], kept)

    def joined(self, other: "HeldOut") -> "HeldOut":
        """These noises, then those of another that was solved on the same grid."""
        paths = self.brownian
        if paths is not None and other.brownian is not None:
            paths = replace(paths, w=torch.cat([paths.w, other.brownian.w], dim=1))
        kept = self.path.joined(other.path) if self.path is not None and other.path is not None else self.path
        noise, reference = torch.cat([self.noise, other.noise]), torch.cat([self.reference, other.reference])
        return HeldOut(noise, reference, paths, self.indices + other.indices, kept)


def hold_out(
    solver: Solver,
    denoise: Denoise,
    shape: tuple[int, ...],
    *,
    levels: Array,
    terminal: Terminal,
    indices: Sequence[int],
    seed: int,
    stream: Stream,
    keep_path: bool = False,
) -> HeldOut:
    """Draw starting noises and solve them finely, with second-order multistep on a fine grid.

    Args:
        solver: the method to be validated; it decides how much noise there is.
        denoise: the model.
        shape: shape of one sample.
        levels: the fine grid, strictly decreasing, > 0, shape (F,).
        terminal: at `zero` the reference is the denoised end of the path, else its state at the last level.
        indices: which samples of the stream.
        seed: seed of the noises.
        stream: purpose, which keeps search, judge and benchmark apart.
        keep_path: whether the fine solutions are kept on their way, which takes twice as many values as the grid has levels.
    """
    noise = starting_noise(shape, indices, seed=seed, stream=stream)
    paths = None
    if solver.stochastic:
        count = (len(levels) - 1) * _BROWNIAN_REFINEMENT + 1
        fine = np.exp(np.interp(np.linspace(0, len(levels) - 1, count), np.arange(len(levels)), np.log(levels)))
        fine[::_BROWNIAN_REFINEMENT] = levels
        paths = brownian(fine, shape, indices, seed=seed, stream=stream, clock=solver.noise.clock)
    fine_solver, denoise = reference(solver), along(denoise, indices)
    if keep_path:
        states, estimates = trajectory(fine_solver, denoise, levels, noise, brownian=paths)
        ends = estimates[-1] if terminal == "zero" else states[-1]
        return HeldOut(noise, ends, paths, tuple(indices), FinePath(levels, states, estimates))
    path = np.append(levels, 0.0) if terminal == "zero" else levels
    return HeldOut(noise, sample(fine_solver, denoise, path, noise, brownian=paths), paths, tuple(indices))


def deviations(solver: Solver, denoise: Denoise, sigmas: Array, held_out: HeldOut) -> Tensor:
    """Distance vectors of the solver's samples to the fine solutions.

    Args:
        solver: the method.
        denoise: the model.
        sigmas: schedules, shape (S, N + 1).
        held_out: noises and references.

    Returns:
        Shape (S, n, dim).
    """
    samples = sample(solver, along(denoise, held_out.indices), sigmas, held_out.noise, brownian=held_out.brownian)
    return (samples - held_out.reference).flatten(2)


def squared_errors(solver: Solver, denoise: Denoise, sigmas: Array, held_out: HeldOut) -> Array:
    """Squared distances, shape (S, n); arguments as in `deviations`."""
    return deviations(solver, denoise, sigmas, held_out).square().sum(2).cpu().numpy()
