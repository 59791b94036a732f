"""What a baseline is given, and what it answers."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from torch import Tensor

from worker.ays.denoise import Denoiser, Evaluator
from worker.ays.noise import Array, NoiseProcess
from worker.ays.paths import Stream, data_generator, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, Solver, sample
from worker.models.loaded import LoadedModel, SampleData

T = TypeVar("T")

_BATCH = 256
_OWN_LEVELS = 64


@dataclass(frozen=True)
class Found:
    """Answer of a method.

    Attributes:
        levels: n evaluated levels, strictly decreasing, then 0; shape (n + 1,).
        evaluations: evaluations of the denoiser that it cost.
        seconds: CPU seconds that it cost.
        weights: of a fitted solver's steps, shape (n, history); None for every other solver.
    """

    levels: Array
    evaluations: int
    seconds: float
    weights: Array | None = None


class Problem:
    """A model as a baseline sees it: a denoiser that counts, a range, data, and a seed of its own.

    What several schedules share (teacher trajectories, a loss curve) is computed once; each of them is charged for it in full.
    """

    def __init__(self, denoiser: Denoiser, *, process: NoiseProcess, data: SampleData | None, seed: int) -> None:
        """Wrap a model.

        Args:
            denoiser: the model.
            process: its noise process.
            data: source of clean samples; None: the model's own samples serve.
            seed: seed of everything that the methods draw; never that of the noises they are judged on.
        """
        self.denoiser, self.denoise = denoiser, Evaluator(denoiser, batch=_BATCH)
        self.process, self._data, self.seed = process, data, seed
        self._kept: dict[Hashable, tuple[object, int, float]] = {}
        self._charged_evaluations, self._charged_seconds = 0, 0.0

    @classmethod
    def of(cls, model: LoadedModel, *, seed: int) -> "Problem":
        """The problem of a loaded model."""
        return cls(model.denoiser, process=model.process, data=model.data, seed=seed)

    @property
    def sigma_max(self) -> float:
        """Highest noise level."""
        return self.process.sigma_max

    @property
    def sigma_min(self) -> float:
        """Lowest noise level that is evaluated."""
        return self.process.sigma_min

    def noise(self, count: int) -> Tensor:
        """Starting noises, shape (count, *shape), float64: for training, never those of the test."""
        return starting_noise(self.denoise.shape, range(count), seed=self.seed, stream=Stream.TRAINING)

    def clean(self, count: int) -> Tensor:
        """Samples of the data, or of the model where there are none, shape (count, *shape), float64."""
        if self._data is not None:
            return self._data(count, data_generator(0, seed=self.seed, stream=Stream.TRAINING)).double()
        return self.shared(("own", count), lambda: self._own(count))

    def _own(self, count: int) -> Tensor:
        levels = np.append(log_grid(self.sigma_max, self.sigma_min, _OWN_LEVELS), 0.0)
        return sample(SOLVERS["dpmpp_2m"], self.denoise, levels, self.noise(count))

    def shared(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Compute something once, and charge its cost to every schedule that asks for it."""
        if key in self._kept:
            value, evaluations, seconds = self._kept[key]
            self._charged_evaluations += evaluations
            self._charged_seconds += seconds
            return cast(Any, value)
        before = self.spent()
        value = compute()
        after = self.spent()
        self._kept[key] = (value, after[0] - before[0], after[1] - before[1])
        return value

    def charge(self, evaluations: int) -> None:
        """Count evaluations that were not made through `denoise`."""
        self._charged_evaluations += evaluations

    def spent(self) -> tuple[int, float]:
        """Evaluations and CPU seconds, made or charged, since the beginning."""
        return self.denoise.evaluations + self._charged_evaluations, time.process_time() + self._charged_seconds

    def solve(self, method: "Method", n: int, solver: Solver) -> Found:
        """Run a method and count what it cost.

        Raises:
            ValueError: its answer is no schedule of n steps that ends at 0.
        """
        before = self.spent()
        levels = np.asarray(method(self, n, solver), dtype=np.float64)
        after = self.spent()
        if levels.shape != (n + 1,) or np.any(np.diff(levels) >= 0) or levels[-1] != 0:
            msg = f"a baseline returned {levels}; expected {n} decreasing positive levels, then 0"
            raise ValueError(msg)
        return Found(levels, after[0] - before[0], after[1] - before[1])


Method = Callable[[Problem, int, Solver], Array]
"""`(problem, n, solver)` -> n evaluated levels, then 0."""


def closed(levels: Array) -> Array:
    """A schedule whose last level gives way to 0, as diffusers and ComfyUI close the published tables."""
    return np.append(levels[:-1], 0.0)


def even(grid: Array, position: Array, n: int) -> Array:
    """Levels at equal steps of a time, closed at 0.

    Args:
        grid: levels, strictly decreasing, shape (G,).
        position: the time at these levels, not decreasing from 0, shape (G,).
        n: number of steps.
    """
    # A flat stretch has no inverse: a slope that no step could notice keeps the levels apart.
    rising = position / position[-1] + 1e-9 * np.arange(len(grid))
    log = np.interp(np.linspace(0, rising[-1], n + 1), rising, np.log(grid))
    levels = np.exp(log)
    levels[0], levels[-1] = grid[0], grid[-1]
    return closed(levels)


def picked(grid: Array, indices: Array) -> Array:
    """Levels of grid indices, made strictly increasing where several are equal, closed at 0; the first one is the highest level.

    Args:
        grid: levels, strictly decreasing, shape (G,).
        indices: not decreasing, shape (n,).
    """
    moved = np.round(indices).astype(np.intp)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + 1)
    for i in range(len(moved) - 1, -1, -1):
        moved[i] = min(moved[i], len(grid) - len(moved) + i)
    return np.append(grid[moved], 0.0)


def flat(x: Tensor) -> Tensor:
    """Shape (..., n, *shape) of a stack over levels -> (G, n, dim), float64."""
    return x.flatten(2).double()
