r"""Randomness of the estimators: starting noises, Brownian paths and forward paths, each sample from a seed of its own.

A sample is addressed by `(seed, stream, index)`, so neither the batch size nor the shard it falls into changes it.

In VE coordinates the reverse SDE is linear in $u = 1 / \sigma^2$:  $d(x / \sigma^2) = D\, du + dW_u$, with W a Brownian motion in u.
A coarse solver's noise over a step is the increment of W, so solvers with different steps can be driven by the same W. Solvers of less
noise than the SDE's have another clock in place of u.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array


class Stream(IntEnum):
    """Purpose of a random number: streams never overlap."""

    PROFILE = 0
    TRAINING = 1
    VALIDATION = 2
    FRESH = 3
    PROBE = 4
    KLUB = 5
    REPORT = 6


_START, _BROWNIAN, _DATA, _BRIDGE = 0, 1, 2, 3


def _generator(seed: int, stream: Stream, index: int, *purpose: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, int(stream), index, *purpose]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def starting_noise(shape: tuple[int, ...], indices: Sequence[int], *, seed: int, stream: Stream) -> Tensor:
    """Standard normal noise, one draw for each index.

    Args:
        shape: shape of one sample.
        indices: which samples.
        seed: seed of the whole.
        stream: purpose.

    Returns:
        Shape (len(indices), *shape), float64, CPU.
    """
    return torch.stack([torch.randn(shape, generator=_generator(seed, stream, i, _START), dtype=torch.float64) for i in indices])


def data_generator(index: int, *, seed: int, stream: Stream) -> torch.Generator:
    """Generator to hand to a data source for the sample of that index."""
    return _generator(seed, stream, index, _DATA)


Clock = Callable[[Array], Array]
"""Variance of a Brownian path at a noise level, increasing as sigma falls."""


def inverse_square(sigma: Array) -> Array:
    """The clock of the reverse SDE, `1 / sigma^2`."""
    return sigma**-2.0


@dataclass(frozen=True)
class Brownian:
    """Brownian paths, known on a fine grid and bridged between its points.

    Given its values at the ends of a cell, a Brownian path inside is their interpolation plus a Brownian bridge. Every path has one
    normal variable in each cell, so that values at levels in different cells have their exact joint law, whoever asks, in any order.

    Attributes:
        u: the clock at the grid, increasing, shape (F,).
        w: values, `w[0] = 0`, shape (F, n, *shape), float64.
        clock: from noise levels to u.
        seed: seed of the whole.
        stream: purpose.
        indices: which samples, length n; none: the first n.
    """

    u: Array
    w: Tensor
    clock: Clock = inverse_square
    seed: int = 0
    stream: Stream = Stream.FRESH
    indices: tuple[int, ...] = ()
    _bridges: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def at(self, sigma: Tensor) -> Tensor:
        """Values at noise levels.

        Args:
            sigma: levels within the grid, shape (k, 1), the same for all samples.

        Returns:
            Shape (k, n, *shape).
        """
        u = self.clock(sigma.numpy()[:, 0])
        cell = np.clip(np.searchsorted(self.u, u, side="left"), 1, len(self.u) - 1) - 1
        width = self.u[cell + 1] - self.u[cell]
        fraction = np.clip((u - self.u[cell]) / width, 0, 1)
        spread = np.sqrt(fraction * (1 - fraction) * width)
        column = (-1, *[1] * (self.w.ndim - 1))
        index, part = torch.from_numpy(cell), torch.from_numpy(fraction).reshape(column)
        lower, upper = self.w[index], self.w[index + 1]
        bridges = torch.stack([self._bridge(int(i)) if s > 0 else torch.zeros_like(self.w[0]) for i, s in zip(cell, spread, strict=True)])
        return lower + part * (upper - lower) + torch.from_numpy(spread).reshape(column) * bridges

    def _bridge(self, cell: int) -> Tensor:
        """The normal variables of a cell, shape (n, *shape)."""
        if cell not in self._bridges:
            shape = self.w.shape[2:]
            drawn = [
                torch.randn(shape, generator=_generator(self.seed, self.stream, i, _BRIDGE, cell), dtype=torch.float64)
                for i in self.indices or range(self.w.shape[1])
            ]
            self._bridges[cell] = torch.stack(drawn)
        return self._bridges[cell]

    def part(self, start: int, stop: int) -> "Brownian":
        """The paths from `start` up to `stop`."""
        return replace(self, w=self.w[:, start:stop], indices=self.indices[start:stop], _bridges={})

    def joined(self, other: "Brownian") -> "Brownian":
        """These paths, then others of the same stream and grid."""
        return replace(self, w=torch.cat([self.w, other.w], dim=1), indices=self.indices + other.indices, _bridges={})


def brownian(
    levels: Array, shape: tuple[int, ...], indices: Sequence[int], *, seed: int, stream: Stream, clock: Clock = inverse_square
) -> Brownian:
    """Draw Brownian paths on a grid of noise levels.

    Args:
        levels: strictly decreasing, > 0, shape (F,).
        shape: shape of one sample.
        indices: which samples.
        seed: seed of the whole.
        stream: purpose.
        clock: of the process that they drive.
    """
    u = clock(np.asarray(levels, dtype=np.float64))
    step = torch.from_numpy(np.sqrt(np.diff(u))).reshape(-1, *[1] * len(shape))
    w = torch.zeros(len(u), len(indices), *shape, dtype=torch.float64)
    for column, index in enumerate(indices):
        z = torch.randn(len(u) - 1, *shape, generator=_generator(seed, stream, index, _BROWNIAN), dtype=torch.float64)
        w[1:, column] = (step * z).cumsum(0)
    return Brownian(u, w, clock, seed, stream, tuple(indices))


def forward_paths(x_0: Tensor, levels: Array, indices: Sequence[int], *, seed: int, stream: Stream) -> Tensor:
    r"""Joint forward noising of each x_0 at all levels: $x_\sigma = x_0 + B_{\sigma^2}$ with B a Brownian motion in sigma^2 (theory 3).

    Args:
        x_0: clean samples, shape (n, *shape), float64.
        levels: strictly decreasing, shape (G,).
        indices: which samples, length n.
        seed: seed of the whole.
        stream: purpose.

    Returns:
        Shape (G, n, *shape): one path has the exact joint law of all levels.
    """
    variance = np.diff(np.concatenate([[0.0], np.asarray(levels)[::-1] ** 2]))
    scale = torch.from_numpy(np.sqrt(variance)).reshape(-1, *[1] * (x_0.ndim - 1))
    paths = torch.empty(len(variance), *x_0.shape, dtype=torch.float64)
    for column, index in enumerate(indices):
        z = torch.randn(len(variance), *x_0.shape[1:], generator=_generator(seed, stream, index, _BROWNIAN), dtype=torch.float64)
        paths[:, column] = x_0[column] + (scale * z).cumsum(0).flip(0)
    return paths
