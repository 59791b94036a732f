r"""Costs of steps, from a profile: the bound (theory K) for the SDE's solvers and the injected error (theory F) for the others.

    bound     integral_{sigma'}^{sigma}  w(u) u^-3  E || D_u - Dhat ||^2  du
    injected  w(sigma') sigma'^-2  E || e ||^2,    e = what one step from the exact path misses at its end
    with w(sigma) = (sigma^-2 + cutoff^-2)^(-p/2)                                                                  (theory W)

With exponent p = 0 that is the bound of the paper, p = 2 counts the error in the sample itself; what is missed well above the cutoff
is mostly forgotten on the way down. Both are quadratic forms in D at the knots and in integrals of D between them, with coefficients from
the solver's declaration (docs/theory.md, sections 6 and 12), so every entry is read off K and its cumulative integrals. Integrals between
levels take K as linear in ln sigma and their kernel as a power of sigma. A step to noise level 0 is weighted with `max(sigma, sigma_min)`.

A schedule may start below sigma_max: from noise alone, as if a step without a denoiser had led there, `Dhat` the mean of the data.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.ays.noise import Array
from worker.ays.profile.integrals import contraction, cumulative
from worker.ays.profile.profile import Profile
from worker.ays.solvers import SDE, Solver, Stage

Index = NDArray[np.intp]
"""Positions on a grid of levels."""

_Terms = list[tuple[Index, Array | float]]
"""A linear functional: positions and coefficients."""


class StepCost:
    """Cost of single steps of one solver at one weight."""

    def __init__(self, profile: Profile, solver: Solver, *, exponent: float, cutoff: float = math.inf) -> None:
        """Prepare the cumulative integrals.

        Args:
            profile: moments along the paths of the solver's measure.
            solver: the method.
            exponent: exponent p >= 0 of the weight w (theory W).
            cutoff: noise level above which w stays as it is, > 0.
        """
        self.levels, self.solver = profile.levels, solver
        self._weight = (profile.levels**-2.0 + cutoff**-2.0) ** (-exponent / 2)
        self._k, self._diagonal = np.ascontiguousarray(profile.moments), np.diag(profile.moments).copy()
        mean_moments = np.append(self._k[0], self._k[0, 0]) if profile.mean_moments is None else profile.mean_moments
        self._mean, self._mean_square = mean_moments[:-1], mean_moments[-1]
        self._bound = solver.noise is SDE
        self._phi = solver.noise.scale(self.levels)
        kernel = self._weight * self.levels**-2.0 if self._bound else solver.noise.slope(self.levels) / self._phi
        integral = cumulative(self.levels, kernel)
        self._norm = integral.sum(1)
        self._cross = integral @ profile.moments
        self._square = self._cross @ integral.T
        self._trace = integral @ self._diagonal
        self._idle = integral @ self._mean
        self._kappa = contraction(self.levels, profile.moments) if solver.passes_on else np.zeros(len(self.levels))

    @property
    def multistep(self) -> bool:
        """Whether levels before the step matter."""
        return self.solver.multistep

    def __call__(self, *knots: Index, closing: bool = False) -> Array:
        """Cost of steps.

        Args:
            knots: level indices, broadcast with each other and increasing: those of earlier evaluations that the step combines,
                the one where it starts, the one where it ends.
            closing: whether nothing is evaluated where it ends.
        """
        nodes = knots[::-1]
        solver = self.solver
        levels = np.stack(np.broadcast_arrays(*(self.levels[node] for node in nodes)))
        if self._bound:
            return self._girsanov(nodes, solver.weights(levels))
        if solver.stage is not None:
            return self._staged(nodes, levels, None if closing else solver.stage)
        weighted: _Terms = list(zip(nodes[1:], solver.weights(levels), strict=True))
        if solver.corrector is not None and not closing:
            return self._corrected(nodes, weighted, solver.corrector(levels))
        terms = self._slopes(nodes, levels, weighted) if solver.combines == "slopes" else self._denoised(nodes, weighted)
        return self._injected(nodes, *terms)

    def _girsanov(self, nodes: Sequence[Index], weights: Array) -> Array:
        """Cost (theory K): `E || D_u - Dhat ||^2` integrated over the step."""
        j, i = nodes[:2]
        terms: _Terms = list(zip(nodes[1:], weights, strict=True))
        own = sum((weight * (self._cross[j, node] - self._cross[i, node]) for node, weight in terms), np.zeros(()))
        return np.maximum(self._trace[j] - self._trace[i] - 2 * own + (self._norm[j] - self._norm[i]) * self._moment(terms, []), 0)

    def _staged(self, nodes: Sequence[Index], levels: Array, stage: Stage | None) -> Array:
        """Cost of a step with a second evaluation off the path; None: of one that is left out."""
        j, i = nodes[:2]
        if stage is None:
            return self._injected(nodes, *self._denoised(nodes, [(i, 1.0)]))
        if stage.proxy is None:
            return self._corrected(nodes, [(i, 1.0)], stage.weights(levels[1], levels[0]))
        end, factor = stage.proxy.end, stage.proxy.factor(levels[1], levels[0])
        return factor**2 * self._injected(nodes, *self._slopes(nodes, levels, [(j, end), (i, 1 - end)]))

    def _denoised(self, nodes: Sequence[Index], weighted: _Terms) -> tuple[_Terms, _Terms]:
        """Error `phi' integral (D_u - Dhat) d(1/phi)` (theory F), as terms in D and in its integral."""
        j, i = nodes[:2]
        end = self._phi[j]
        norm = end * (self._norm[j] - self._norm[i])
        return [(node, -norm * weight) for node, weight in weighted], [(j, end), (i, -end)]

    def _corrected(self, nodes: Sequence[Index], predicted: _Terms, weights: Array) -> Array:
        """Cost (theory F) of the corrected state: its evaluation is at the predicted one, whose error D passes on by kappa (theory 21)."""
        j, i = nodes[:2]
        values, integrals = self._denoised(nodes, list(zip(nodes, weights, strict=True)))
        passed = weights[0] * (1 - self._phi[j] / self._phi[i]) * self._kappa[j]
        off_values, off_integrals = self._denoised(nodes, predicted)
        off = [[(node, passed * factor) for node, factor in terms] for terms in (off_values, off_integrals)]
        return self._injected(nodes, values + off[0], integrals + off[1])

    def _slopes(self, nodes: Sequence[Index], levels: Array, weighted: _Terms) -> tuple[_Terms, _Terms]:
        """The same where slopes are combined: `x_k / sigma_k` is known from the integral of D between k and the start (theory 17)."""
        j, i = nodes[:2]
        width = levels[0] - levels[1]
        integrals: _Terms = [(j, levels[0]), (i, -levels[0])]
        integrals += [term for node, weight in weighted for term in ((i, width * weight), (node, -width * weight)) if node is not i]
        return [(node, width * weight / self.levels[node]) for node, weight in weighted], integrals

    def _injected(self, nodes: Sequence[Index], values: _Terms, integrals: _Terms) -> Array:
        """Cost (theory F) of an error given as terms in D at levels and in the integral of D from the top down to levels."""
        return self._moment(values, integrals) * self._scale(nodes[0])

    def _scale(self, j: Index | np.intp) -> Array:
        """What turns a squared error in x at a level into its cost."""
        return np.asarray(self._weight[j] * self.levels[j] ** -2.0)

    def _moment(self, values: _Terms, integrals: _Terms) -> Array:
        """Second moment of `sum a D[g] + sum b (C D)[g]`."""
        # Positions in the flattened matrices: numpy looks these up twice as fast as pairs of indices.
        total, size = np.zeros(()), len(self.levels)
        for n, (g, a) in enumerate(values):
            total = total + a**2 * self._diagonal.take(g)
            for h, b in values[:n]:
                total = total + 2 * a * b * self._k.take(g * size + h)
            for h, b in integrals:
                total = total + 2 * a * b * self._cross.take(h * size + g)
        for n, (g, a) in enumerate(integrals):
            total = total + a**2 * self._square.take(g * (size + 1))
            for h, b in integrals[:n]:
                total = total + 2 * a * b * self._square.take(g * size + h)
        return np.maximum(total, 0)

    def start(self, j: Index) -> Array:
        """Cost of starting at level j from noise alone, 0 at the highest level: of a step from there with the mean as `Dhat` (theory S)."""
        if self._bound:
            return np.maximum(self._trace[j] - 2 * self._idle[j] + self._norm[j] * self._mean_square, 0)
        missed = self._square[j, j] - 2 * self._norm[j] * self._idle[j] + self._norm[j] ** 2 * self._mean_square
        return np.maximum(missed, 0) * self._phi[j] ** 2 * self._scale(j)

    def to_zero(self, i: Index) -> Array:
        """Cost of the step from level i to noise level 0, which returns D_i."""
        last = np.intp(len(self.levels) - 1)
        jump = np.maximum(self._diagonal[last] - 2 * self._k[i, last] + self._diagonal[i], 0)
        tail = self._scale(last) * jump
        return tail + self._girsanov((np.asarray(last), i), np.ones((1, *np.shape(i)))) if self._bound else tail

    def total(self, knots: Index, *, to_zero: bool) -> Array:
        """Cost of whole schedules.

        Args:
            knots: grid indices, strictly increasing along the last axis, without the terminal 0; shape (..., N + 1) or (..., N).
            to_zero: whether a step to noise level 0 follows.

        Returns:
            Shape (...); what it costs to start at the first knot is part of it.
        """
        rows = knots.reshape(-1, knots.shape[-1])
        return self.steps(rows, np.full(len(rows), rows.shape[1]), to_zero=to_zero).sum(axis=1).reshape(knots.shape[:-1])

    def totals(self, schedules: Sequence[Index], *, to_zero: bool) -> Array:
        """Cost of whole schedules of several lengths, as `total` gives each, shape (S,)."""
        counts = np.array([len(knots) for knots in schedules], dtype=np.intp)
        table = np.zeros((len(schedules), int(counts.max())), dtype=np.intp)
        for row, knots in enumerate(schedules):
            table[row, : len(knots)] = knots
        return self.steps(table, counts, to_zero=to_zero).sum(axis=1)

    def steps(self, knots: Index, counts: Index, *, to_zero: bool) -> Array:
        """Cost of every step of schedules of several lengths.

        Args:
            knots: grid indices up to each row's count, without the terminal 0, shape (S, L).
            counts: number of knots of each row, shape (S,).
            to_zero: whether a step to noise level 0 follows.

        Returns:
            Shape (S, L): entry n is the step that starts at knot n, and in the first one what it costs to start there; inf where knots
            leave the grid or do not go down; 0 where no step starts.
        """
        cost = np.zeros(knots.shape)
        if to_zero:
            rows = np.arange(len(knots))
            end = knots[rows, counts - 1]
            cost[rows, counts - 1] = np.where(end < len(self.levels), self.to_zero(np.minimum(end, len(self.levels) - 1)), np.inf)
        combined, closing = self._plan(knots.shape, counts, to_zero=to_zero)
        for many in range(1, self.solver.history + 1):
            for last in (False, True) if closing.any() else (False,):
                row, column = np.nonzero((combined == many) & (closing == last))
                nodes = np.stack([knots[row, column + offset] for offset in range(1 - many, 2)])
                possible = (np.diff(nodes, axis=0) > 0).all(axis=0) & (nodes[0] >= 0) & (nodes[-1] < len(self.levels))
                cost[row, column] = np.inf
                if possible.any():
                    cost[row[possible], column[possible]] = self(*nodes[:, possible], closing=last)
        first, top = knots[:, 0], len(self.levels) - 1
        cost[:, 0] += np.where((first >= 0) & (first <= top), self.start(np.clip(first, 0, top)), np.inf)
        return cost

    def _plan(self, shape: tuple[int, ...], counts: Index, *, to_zero: bool) -> tuple[Index, NDArray[np.bool_]]:
        """How many evaluations each step combines (0: no step), and whether it closes; each of shape (S, L)."""
        step, left = np.arange(shape[1])[None, :], counts[:, None] - 1 - np.arange(shape[1])[None, :]
        most = np.minimum(self.solver.history, step + 1)
        if self.solver.tapers and to_zero:
            most = np.minimum(most, left + 1)
        closing = (left == 1) & (not to_zero) & self.solver.closes_differently
        return np.where(left > 0, most, 0), closing


@dataclass(frozen=True)
class CostTable:
    """Cost of every step between grid levels, for one solver that combines at most two evaluations, and one exponent.

    Attributes:
        levels: the grid, strictly decreasing, shape (G,).
        start: `start[j]`, starting at level j from noise alone, shape (G,).
        step: `step[i, j]`, the step from level i to level j with no memory; inf where j <= i; shape (G, G).
        pair: `pair[k, i, j]`, the same after an evaluation at k; inf unless k < i < j; None for one-step solvers; shape (G, G, G).
        to_zero: `to_zero[i]`, the closing step from level i, to noise level 0, shape (G,).
        to_last: `to_last[i]`, a closing step without memory to the last level; inf for the last; shape (G,).
        pair_to_last: `pair_to_last[k, i]`, the same after an evaluation at k; None for one-step solvers; shape (G, G).
        pair_to_zero: `pair_to_zero[k, i]`, the closing step to noise level 0 after an evaluation at k; None: as without memory; shape
            (G, G).
    """

    levels: Array
    start: Array
    step: Array
    pair: Array | None
    to_zero: Array
    to_last: Array
    pair_to_last: Array | None
    pair_to_zero: Array | None = None


def tabulate(cost: StepCost) -> CostTable:
    """Evaluate a cost at every step of its grid.

    Raises:
        ValueError: its solver combines more than two evaluations: truncate it.
    """
    if cost.solver.history > 2:
        msg = f"received {cost.solver.name}, which combines {cost.solver.history} evaluations; a table holds 2; tabulate `truncated(2)`"
        raise ValueError(msg)
    g = len(cost.levels)
    index = np.arange(g)
    later = np.where(index[None, :] > index[:, None], 0.0, np.inf)
    last = np.array(g - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(later == 0, cost(index[:, None], index[None, :]), np.inf)
        to_last = np.where(index < last, cost(index, last, closing=True), np.inf)
    if not cost.multistep:
        return CostTable(cost.levels, cost.start(index), step, None, cost.to_zero(index), to_last, None)
    k, i, j = np.nonzero(np.isfinite(later[:, :, None] + later[None]))
    pair = np.full((g, g, g), np.inf)
    pair[k, i, j] = cost(k, i, j)
    pair_to_last = pair[:, :, -1].copy()
    if cost.solver.closes_differently:
        k, i = np.nonzero(np.isfinite(pair_to_last))
        pair_to_last[k, i] = cost(k, i, last, closing=True)
    return CostTable(cost.levels, cost.start(index), step, pair, cost.to_zero(index), to_last, pair_to_last)


def klub(levels: Array, mmse: Callable[[Array], Array], *, nodes: int = 40) -> float:
    """Bound (theory K) at p = 0 of a first-order solver from the denoising loss alone, by Gauss-Legendre quadrature in ln sigma.

    By `E || D_a - D_b ||^2 = mmse(b) - mmse(a)` (theory 3) for an exact denoiser, so no joint moments are needed.

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
