r"""Schedules from a denoising-loss curve alone.

For an exact denoiser $m(\sigma) = E ||x_0 - D||^2$ decides the bound (theory K) of first-order stochastic solvers: along forward paths the
denoiser is a martingale, so $K_{gh} = m(\min(\sigma_g, \sigma_h))$ (theory 3, 6). A curve is therefore a profile of
the forward measure, and everything that works on profiles works on it. What deterministic or multistep solvers need beyond that, the
joint law along the flow, no loss curve tells.
"""

from dataclasses import dataclass

import numpy as np

from worker.ays.noise import Array
from worker.ays.profile.profile import Profile, log_grid
from worker.ays.schedule import Terminal

_FLOOR = 1e-12
_FINE = 4096


@dataclass(frozen=True)
class Curve:
    """A denoising loss that rises with the noise level.

    Attributes:
        sigma: levels, strictly increasing, > 0, shape (n,).
        loss: m at each, not falling, >= 0, shape (n,).
    """

    sigma: Array
    loss: Array

    @classmethod
    def fitted(cls, sigma: Array, loss: Array) -> "Curve":
        """The closest rising curve to a measured one, in least squares.

        Args:
            sigma: levels, strictly increasing, > 0, shape (n,).
            loss: measured m, >= 0, shape (n,).
        """
        return cls(np.asarray(sigma, dtype=np.float64), isotonic(np.asarray(loss, dtype=np.float64)))

    def at(self, levels: Array) -> Array:
        """Loss at levels within the range, any shape; ln m is linear in ln sigma between the points."""
        floor = _FLOOR * self.loss[-1]
        return np.exp(np.interp(np.log(levels), np.log(self.sigma), np.log(np.maximum(self.loss, floor))))

    def profile(self, levels: Array) -> Profile:
        """Profile of the forward measure on a grid, strictly decreasing, within the range, shape (G,)."""
        loss = self.at(levels)
        index = np.arange(len(levels))
        moments = loss[np.maximum(index[:, None], index[None, :])]
        return Profile("forward", levels, moments, np.zeros_like(moments), 0, 0)


def isotonic(values: Array) -> Array:
    """Closest non-decreasing sequence in least squares, by pooling adjacent violators; shape (n,)."""
    means: list[float] = []
    counts: list[int] = []
    for value in values:
        means.append(float(value))
        counts.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            count = counts[-2] + counts[-1]
            means[-2:] = [(counts[-2] * means[-2] + counts[-1] * means[-1]) / count]
            counts[-2:] = [count]
    return np.repeat(means, counts)


def entropic(curve: Curve, steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal) -> Array:
    r"""Even steps of rescaled entropic time (Stancevic, Handke, Ambrogioni 2025, https://arxiv.org/abs/2504.13612).

    That time is $\phi(\sigma) = \int m(u) u^{-2} du$ (theory 15). On Gaussian data it is $c \arctan(\sigma / c)$.

    Args:
        curve: the loss.
        steps: number of steps, >= 2.
        sigma_max: highest level, within the curve.
        sigma_min: lowest level that is evaluated, within the curve.
        terminal: where the last step ends.

    Returns:
        Shape (steps + 1,), strictly decreasing.
    """
    fine = log_grid(sigma_max, sigma_min, _FINE)
    rate = curve.at(fine) / fine  # per unit of ln sigma
    time = np.concatenate([[0.0], np.cumsum((rate[:-1] + rate[1:]) / 2 * np.log(fine[:-1] / fine[1:]))])
    count = steps if terminal == "zero" else steps + 1
    levels = np.exp(np.interp(np.linspace(0, time[-1], count), time, np.log(fine)))
    levels[0], levels[-1] = sigma_max, sigma_min
    return np.append(levels, 0.0) if terminal == "zero" else levels
