r"""Randomness of the estimators: starting noises, Brownian paths and forward paths, each sample from a seed of its own.

A sample is addressed by `(seed, stream, index)`, so neither the batch size nor the shard it falls into changes it.

In VE coordinates the reverse SDE is linear in $u = 1 / \sigma^2$:  $d(x / \sigma^2) = D\, du + dW_u$, with W a Brownian motion in u.
A coarse solver's noise over a step is the increment of W, so solvers with different steps can be driven by the same W. Solvers of less
noise than the SDE's have another clock in place of u.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array


class Stream(IntEnum):
    """Purpose of a random number: streams never overlap."""

    PROFILE = 0
    SEARCH = 1
    JUDGE = 2
    FRESH = 3
    PROBE = 4
    KLUB = 5


_START, _BROWNIAN, _DATA = 0, 1, 2


def _generator(seed: int, stream: Stream, index: int, purpose: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, int(stream), index, purpose]).generate_state(1, np.uint64)[0]
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
    """Brownian paths, known on a fine grid and linear in their clock between its points.

    Attributes:
        u: the clock at the grid, increasing, shape (F,).
        w: values, `w[0] = 0`, shape (F, n, *shape), float64.
        clock: from noise levels to u.
    """

    u: Array
    w: Tensor
    clock: Clock = inverse_square

    def at(self, sigma: Tensor) -> Tensor:
        """Values at one noise level for each sample.

        Args:
            sigma: levels within the grid, shape (k, n) or (k, 1).

        Returns:
            Shape (k, n, *shape).
        """
        u = self.clock(sigma.numpy())
        right = np.clip(np.searchsorted(self.u, u, side="left"), 1, len(self.u) - 1)
        fraction = torch.from_numpy(np.clip((u - self.u[right - 1]) / (self.u[right] - self.u[right - 1]), 0, 1))
        index = torch.from_numpy(right)
        n = torch.arange(self.w.shape[1])
        lower, upper = self.w[index - 1, n], self.w[index, n]
        return lower + fraction.reshape(*fraction.shape, *[1] * (self.w.ndim - 2)) * (upper - lower)


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
    return Brownian(u, w, clock)


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
