r"""Costs of steps, from a profile: the bound (K) for stochastic solvers and the injected error (F) for deterministic ones.

    (K)  integral_{sigma'}^{sigma}  u^(p - 3)  E || D_u - Dhat ||^2  du
    (F)  sigma'^(p - 2)  E || sigma' integral_{sigma'}^{sigma}  (D_u - Dhat)  d(1/u) ||^2

with detail exponent p: p = 0 is the bound of the paper, p = 2 counts the error in the sample itself. Expanding the square, both are
quadratic in the weights of Dhat, with coefficients read from K and its cumulative integrals, so one entry costs O(1). Integrals
between levels take K as linear in ln sigma and the power of sigma exactly. A step to noise level 0 is weighted with
`max(sigma, sigma_min)`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.ays.noise import Array
from worker.ays.profile import Profile
from worker.ays.solvers import Solver

Index = NDArray[np.intp]
"""Positions on a grid of levels."""

_SERIES = 8


def _cell_weights(levels: Array, power: float) -> tuple[Array, Array]:
    """Weights of the upper and lower ends of each cell in `integral u^power f(u) d ln u`, f linear in ln u; each of shape (G - 1,)."""
    width = np.log(levels[:-1] / levels[1:])
    a = power * width
    small = np.abs(a) < 0.05
    safe = np.where(small, 1.0, a)
    total_series = sum(a**n / math.factorial(n + 1) for n in range(_SERIES))  # integral of e^(a s) over s in [0, 1]
    upper_series = sum(a**n / (math.factorial(n) * (n + 2)) for n in range(_SERIES))  # integral of s e^(a s)
    total = np.where(small, total_series, np.expm1(safe) / safe)
    upper = np.where(small, upper_series, (np.exp(safe) * (safe - 1) + 1) / safe**2)
    scale = levels[1:] ** power * width
    return scale * upper, scale * (total - upper)


def _cumulative(levels: Array, power: float) -> Array:
    """Matrix C with `(C f)[g] = integral from levels[g] to levels[0] of u^power f(u) d ln u`, shape (G, G)."""
    upper, lower = _cell_weights(levels, power)
    cells = np.zeros((len(levels), len(levels)))
    index = np.arange(len(levels) - 1)
    cells[index + 1, index] = upper
    cells[index + 1, index + 1] = lower
    return cells.cumsum(axis=0)


class StepCost:
    """Cost of single steps of one solver at one detail exponent, each entry O(1).

    A step from level i to level j, with the evaluation before it at level k (None: no memory), costs
    `aa - 2 c <target, Dhat> + c' ||Dhat||^2` with `Dhat = (1 + r) D_i - r D_k`, `r = h_(i,j) / (2 h_(k,i))` for 2M, else `D_i`.
    """

    def __init__(self, profile: Profile, solver: Solver, *, detail: float) -> None:
        """Prepare the cumulative integrals.

        Args:
            profile: moments, measured along `flow` paths for deterministic solvers, `forward` paths for stochastic ones.
            solver: the method.
            detail: exponent p >= 0 of the weight sigma^p.
        """
        self.levels, self._k, self._solver, self._detail = profile.levels, profile.moments, solver, detail
        self._log = np.log(profile.levels)
        integral = _cumulative(profile.levels, detail - 2 if solver.stochastic else -1.0)
        self._cross = integral @ profile.moments
        self._norm = integral.sum(1)
        self._square = integral @ profile.moments @ integral.T
        self._diagonal = np.diag(profile.moments)
        self._trace = integral @ self._diagonal

    @property
    def multistep(self) -> bool:
        """Whether the level before the step matters."""
        return self._solver.multistep

    @property
    def closes_at_first_order(self) -> bool:
        """Whether a last step above noise level 0 is of first order (Heun spends no evaluation at the very end)."""
        return self._solver.predictor_corrector

    def __call__(self, k: Index | None, i: Index, j: Index) -> Array:
        """Cost of steps.

        Args:
            k: level indices of the previous evaluations, or None.
            i: level indices where the steps start, broadcast with k and j; k < i < j.
            j: level indices where they end.
        """
        if self._solver.predictor_corrector:
            return self._trapezoid(i, j)
        own, square = self._inner(i, i, j), self._diagonal[i]
        if k is not None and self.multistep:
            r = (self._log[i] - self._log[j]) / (2 * (self._log[k] - self._log[i]))
            own = (1 + r) * own - r * self._inner(k, i, j)
            square = (1 + r) ** 2 * square - 2 * r * (1 + r) * self._k[k, i] + r**2 * self._diagonal[k]
        if self._solver.stochastic:
            norm = self._norm[j] - self._norm[i]
            return np.maximum(self._trace[j] - self._trace[i] - 2 * own + norm * square, 0)
        return self._injected(own, square, i, j)

    def _injected(self, own: Array, square: Array, i: Index, j: Index) -> Array:
        """Cost (F), given `<integral D d(1/u), Dhat>` and `||Dhat||^2`."""
        norm = self._norm[j] - self._norm[i]
        return np.maximum(self._target(i, j) - 2 * norm * own + norm**2 * square, 0) * self.levels[j] ** self._detail

    def _target(self, i: Index, j: Index) -> Array:
        """Second moment of `integral D d(1/u)` over a step."""
        return self._square[j, j] - 2 * self._square[i, j] + self._square[i, i]

    def _inner(self, g: Index, i: Index, j: Index | np.intp) -> Array:
        return self._cross[j, g] - self._cross[i, g]

    def _trapezoid(self, i: Index, j: Index) -> Array:
        """Heun's local error in x: `(s + s') Q + (s' - s) (D / s + D' / s')` with `Q = integral D d(1/u)`.

        That is twice the trapezoid rule's: Heun corrects with an evaluation off the path, which for Gaussian data errs by as much
        again, to leading order (docs/theory.md, 9). Second moments on the path cannot tell more.
        """
        now, then = self.levels[i], self.levels[j]
        alpha, beta, gamma = now + then, (then - now) / now, (then - now) / then
        square = alpha**2 * self._target(i, j)
        square = square + beta**2 * self._diagonal[i] + gamma**2 * self._diagonal[j]
        mixed = alpha * beta * self._inner(i, i, j) + alpha * gamma * self._inner(j, i, j) + beta * gamma * self._k[i, j]
        return np.maximum(square + 2 * mixed, 0) * then ** (self._detail - 2)

    def to_zero(self, i: Index) -> Array:
        """Cost of the step from level i to noise level 0, which returns D_i."""
        last = np.intp(len(self.levels) - 1)
        jump = np.maximum(self._diagonal[last] - 2 * self._k[i, last] + self._diagonal[i], 0)
        tail = self.levels[last] ** (self._detail - 2) * jump
        if not self._solver.stochastic:
            return tail
        rest = self._trace[last] - self._trace[i] - 2 * self._inner(i, i, last) + (self._norm[last] - self._norm[i]) * self._diagonal[i]
        return tail + np.maximum(rest, 0)

    def total(self, knots: Index, *, to_zero: bool) -> Array:
        """Cost of whole schedules.

        Args:
            knots: grid indices, strictly increasing along the last axis, without the terminal 0; shape (..., N + 1) or (..., N).
            to_zero: whether a step to noise level 0 follows.

        Returns:
            Shape (...).
        """
        total = self.to_zero(knots[..., -1]) if to_zero else np.zeros(knots.shape[:-1])
        k, i, j = knots[..., :-2], knots[..., :-1], knots[..., 1:]
        if self.closes_at_first_order and not to_zero and knots.shape[-1] > 1:
            total = total + self.euler(i[..., -1], j[..., -1])
            i, j = i[..., :-1], j[..., :-1]
        if not self.multistep or knots.shape[-1] < 3:
            return total + self(None, i, j).sum(axis=-1)
        return total + self(None, i[..., 0], j[..., 0]) + self(k, i[..., 1:], j[..., 1:]).sum(axis=-1)

    def euler(self, i: Index, j: Index) -> Array:
        """First-order cost of a step, the one Heun ends with."""
        return self._injected(self._inner(i, i, j), self._diagonal[i], i, j)


@dataclass(frozen=True)
class CostTable:
    """Cost of every step between grid levels, for one solver and one detail.

    Attributes:
        levels: the grid, strictly decreasing, shape (G,).
        step: `step[i, j]`, the step from level i to level j with no memory; inf where j <= i; shape (G, G).
        pair: `pair[k, i, j]`, the same after an evaluation at k; inf unless k < i < j; None for one-step solvers; shape (G, G, G).
        to_zero: `to_zero[i]`, the closing step from level i, to noise level 0, shape (G,).
        to_last: `to_last[i]`, a closing step to the last level where it differs from `step` (Heun closes at first order), or None.
    """

    levels: Array
    step: Array
    pair: Array | None
    to_zero: Array
    to_last: Array | None


def tabulate(cost: StepCost) -> CostTable:
    """Evaluate a cost at every step of its grid."""
    g = len(cost.levels)
    index = np.arange(g)
    later = np.where(index[None, :] > index[:, None], 0.0, np.inf)
    step = cost(None, index[:, None], index[None, :]) + later
    pair = None
    if cost.multistep:
        with np.errstate(divide="ignore", invalid="ignore"):
            raw = cost(index[:, None, None], index[None, :, None], index[None, None, :])
        pair = np.where(np.isfinite(later[:, :, None] + later[None]), raw, np.inf)
    to_last = cost.euler(index, np.full(g, g - 1)) if cost.closes_at_first_order else None
    return CostTable(cost.levels, step, pair, cost.to_zero(index), to_last)


def klub(levels: Array, mmse: Callable[[Array], Array], *, nodes: int = 40) -> float:
    """Bound (K) at p = 0 of a first-order solver from the denoising loss alone, by Gauss-Legendre quadrature in ln sigma.

    By the martingale identity `E || D_a - D_b ||^2 = mmse(b) - mmse(a)` for an exact denoiser, so no joint moments are needed.

    Args:
        levels: strictly decreasing, > 0, shape (N + 1,).
        mmse: denoising loss at noise levels of any shape.
        nodes: quadrature nodes of each step.
    """
    x, w = np.polynomial.legendre.leggauss(nodes)
    high, low = np.log(levels[:-1])[:, None], np.log(levels[1:])[:, None]
    u = np.exp((high + low) / 2 + (high - low) / 2 * x)
    gap = mmse(np.asarray(levels[:-1]))[:, None] - mmse(u)
    return float(np.sum((high - low) / 2 * w * gap * u**-2))
