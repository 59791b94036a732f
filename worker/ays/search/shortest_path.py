r"""Exact minimization: the best schedule on the grid is a shortest path.

With V_n[i] (V_n[k, i] for 2M) the least cost of finishing from level i (reached from level k) in n more steps,

    V_n[k, i] = min_j  pair[k, i, j] + V_(n-1)[i, j],                                                            (theory 10)

so one backward sweep gives the global optimum for every number of steps and every starting level, the best start among them. Where a
step combines more than two evaluations, that is the optimum of the method with a history of two, and the start of a descent on its own
cost. The same descent, on an interpolated profile, moves knots off the measured grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.ays.noise import Array
from worker.ays.profile.cost import CostTable, Index, StepCost

_WORTHWHILE = 1e-3


@dataclass(frozen=True)
class Solution:
    """Optima of one cost table for every number of steps up to `steps_max` and every starting level.

    Attributes:
        levels: the grid, shape (G,).
        to_zero: whether schedules end with a step to noise level 0.
        start: `start[i]`, what it costs to start at level i from noise alone, shape (G,).
        value: `value[n - 1, i]`, least cost of n steps that start at level i without memory; inf where impossible; shape (steps_max, G).
        first: `first[n - 1, i]`, the level after level i in that optimum, shape (steps_max, G).
        follow: `follow[n - 1, k, i]`, the level after level i with n steps to go and the previous evaluation at k (one-step
            solvers: k is 0), shape (steps_max, G or 1, G).
    """

    levels: Array
    to_zero: bool
    start: Array
    value: Array
    first: Index
    follow: Index

    def possible(self, steps: int, *, start: int | None = None) -> bool:
        """Whether there is a schedule of that many steps from a level, or from any."""
        if not 1 <= steps <= len(self.value):
            return False
        finite = np.isfinite(self.value[steps - 1])
        return bool(finite.any() if start is None else finite[start])

    def knots(self, steps: int, *, start: int | None = None) -> Index:
        """Grid indices of the optimal schedule.

        Args:
            steps: number of steps, 1 to steps_max, the step to 0 included.
            start: index of its first level (img2img starts where its strength says); None: the best one.

        Returns:
            Shape (steps,) if it ends at 0 (which is not on the grid), else (steps + 1,), strictly increasing.

        Raises:
            ValueError: no schedule of that many steps starts there.
        """
        if not self.possible(steps, start=start):
            msg = f"received steps={steps} from level {start} of {len(self.levels)}; expected at most {len(self.value)} and enough below"
            raise ValueError(msg)
        first = int((self.start + self.value[steps - 1]).argmin()) if start is None else start
        memory = self.follow.shape[1] > 1
        knots = [first]
        for left in range(steps, 1 if self.to_zero else 0, -1):
            here = knots[-1]
            if len(knots) == 1:
                knots.append(int(self.first[left - 1, here]))
            else:
                knots.append(int(self.follow[left - 1, knots[-2] if memory else 0, here]))
        return np.array(knots, dtype=np.intp)


def solve(table: CostTable, *, steps_max: int, to_zero: bool, ratio_bound: float | None = None) -> Solution:
    """Minimize the total cost (theory 10) for every number of steps and every starting level.

    Args:
        table: costs of steps.
        steps_max: largest number of steps.
        to_zero: whether the last step goes to noise level 0, from any level; otherwise it ends at the last level of the grid.
        ratio_bound: largest allowed `h_i / h_(i-1)` of successive steps, h = ln(sigma_i / sigma_(i+1)); for multistep solvers only, where
            a long step after a short one amplifies earlier errors; None: any.
    """
    return _solve_pairs(table, steps_max, to_zero, ratio_bound) if table.pair is not None else _solve_single(table, steps_max, to_zero)


def _closing(table: CostTable, to_zero: bool) -> Array:
    return table.to_zero if to_zero else table.to_last


def _solve_single(table: CostTable, steps_max: int, to_zero: bool) -> Solution:
    g = len(table.levels)
    value = np.full((steps_max, g), np.inf)
    follow = np.full((steps_max, 1, g), g - 1, dtype=np.intp)
    value[0] = _closing(table, to_zero)
    for n in range(1, steps_max):
        total = table.step + value[n - 1][None, :]
        follow[n, 0] = total.argmin(axis=1)
        value[n] = total.min(axis=1)
    return Solution(table.levels, to_zero, table.start, value, follow[:, 0], follow)


def _solve_pairs(table: CostTable, steps_max: int, to_zero: bool, ratio_bound: float | None) -> Solution:
    g = len(table.levels)
    assert table.pair is not None
    assert table.pair_to_last is not None
    pair, close = table.pair, table.pair_to_last
    if ratio_bound is not None:
        long = _ratios(table.levels) > ratio_bound * (1 + 1e-9)
        pair, close = np.where(long, np.inf, pair), np.where(long[:, :, -1], np.inf, close)
    value = np.full((steps_max, g), np.inf)
    first = np.full((steps_max, g), g - 1, dtype=np.intp)
    follow = np.full((steps_max, g, g), g - 1, dtype=np.intp)
    value[0] = _closing(table, to_zero)
    ahead = (np.broadcast_to(table.to_zero, (g, g)) if table.pair_to_zero is None else table.pair_to_zero) if to_zero else close
    total = np.empty_like(pair)  # megabytes: one place for all rounds
    for n in range(1, steps_max):
        start = table.step + ahead
        first[n], value[n] = start.argmin(axis=1), start.min(axis=1)
        np.add(pair, ahead[None], out=total)
        follow[n] = total.argmin(axis=2)
        ahead = np.take_along_axis(total, follow[n][:, :, None], axis=2)[:, :, 0]
    return Solution(table.levels, to_zero, table.start, value, first, follow)


def _ratios(levels: Array) -> Array:
    """`h_(i,j) / h_(k,i)`, shape (G, G, G); 0 where undefined."""
    log = np.log(levels)
    h = log[:, None] - log[None, :]
    return np.maximum(h, 0)[None, :, :] / np.where(h > 0, h, np.inf)[:, :, None]


def spread(knots: Index, last: int) -> Index:
    """Push knots that fell together apart: strictly increasing, at most `last`, the earlier ones moved the least; shape (n,)."""
    apart = knots.copy()
    for i in range(1, len(apart)):
        apart[i] = max(apart[i], apart[i - 1] + 1)
    for i in range(len(apart) - 1, -1, -1):
        apart[i] = min(apart[i], last - (len(apart) - 1 - i))
    return apart


def coordinate_descent(
    cost: StepCost,
    schedules: Sequence[Index],
    *,
    to_zero: bool,
    ratio_bound: float | None = None,
    reach: int | None = None,
    keep_start: bool = False,
) -> list[Index]:
    """Coordinate descent of the knots of several schedules side by side.

    Every knot tries a move of the current width either way and takes the better one if it helps. Knots that share no step move at once:
    a knot of a solver that combines m evaluations touches m + 1 steps, so m + 1 groups of knots are a sweep. When a sweep helps a schedule
    nowhere, its width halves.

    Args:
        cost: the exact cost, whatever the length of its solver's history; usually on a finer grid than the measured one.
        schedules: indices on its grid, each of shape (n,); the last stays unless a step to 0 follows.
        to_zero: whether a step to noise level 0 follows.
        ratio_bound: as in `solve`.
        reach: width of the first moves; None: half of a schedule's widest gap.
        keep_start: whether the first knot stays.

    Returns:
        Indices of schedules that cost no more, each of shape (n,).
    """
    if not schedules:
        return []
    counts = np.array([len(knots) for knots in schedules], dtype=np.intp)
    table = np.zeros((len(schedules), int(counts.max())), dtype=np.intp)
    for row, knots in enumerate(schedules):
        table[row, : len(knots)] = knots
    gaps = np.where(np.arange(table.shape[1])[None, 1:] < counts[:, None], np.diff(table, axis=1), 0)
    width = np.maximum(1, gaps.max(axis=1, initial=1) // 2)
    width = width if reach is None else np.minimum(width, reach)
    descent = _Descent(cost, to_zero, ratio_bound, 1 if keep_start else 0)
    costs = descent.steps(table, counts)
    while (width > 0).any():
        active = np.flatnonzero(width > 0)
        gain, table[active], costs[active] = descent.sweep(table[active], counts[active], width[active], costs[active])
        # The narrowest moves go on until none helps; wider ones are not worth their last per mille.
        width[active[(gain == 0) | ((gain < _WORTHWHILE) & (width[active] > 1))]] //= 2
    return [table[row, :count] for row, count in enumerate(counts)]


class _Descent:
    """Sweeps over the knots of schedules, group by group.

    Costs are kept with one column of zeros in front, so that the steps that knot n touches, from the one that ends there on, are
    columns n to n + touched - 1, and those of a group of knots are windows side by side.
    """

    def __init__(self, cost: StepCost, to_zero: bool, ratio_bound: float | None, first_free: int) -> None:
        self._cost, self._to_zero, self._first_free = cost, to_zero, first_free
        self._ratio_bound = ratio_bound if cost.multistep else None
        self._touched = cost.solver.history + 1
        self._log = np.log(cost.levels)

    def sweep(self, knots: Index, counts: Index, width: Index, costs: Array) -> tuple[Array, Index, Array]:
        """Move every group of knots once: the share by which the cost of each schedule fell, all of them, and the costs of their steps."""
        knots, costs, moved = knots.copy(), costs.copy(), np.zeros(len(knots), dtype=bool)
        before = costs.sum(axis=1)
        end = counts if self._to_zero else counts - 1
        for group in range(min(self._touched, knots.shape[1])):
            position = np.arange(group, knots.shape[1], self._touched)
            free = (position >= self._first_free) & (position < end[:, None])
            move = np.array([0, -1, 1])[:, None, None] * (free * width[:, None])
            trials = np.repeat(knots[None], 3, axis=0)
            trials[:, :, position] += move
            tried = self.steps(trials[1:].reshape(-1, knots.shape[1]), np.tile(counts, 2)).reshape(2, *costs.shape)
            span = slice(group, group + len(position) * self._touched)
            windows = np.concatenate([costs[None], tried])[:, :, span].reshape(3, len(knots), len(position), self._touched)
            totals = windows.sum(axis=3)
            choice = np.where(free & (totals[1:].min(axis=0) < totals[0] * (1 - 1e-9)), 1 + totals[1:].argmin(axis=0), 0)
            knots[:, position] += np.take_along_axis(move, choice[None], axis=0)[0]
            costs[:, span] = np.take_along_axis(windows, choice[None, :, :, None], axis=0)[0].reshape(len(knots), -1)
            moved |= (choice > 0).any(axis=1)
        with np.errstate(invalid="ignore"):
            fallen = 1 - costs.sum(axis=1) / np.where(before > 0, before, 1)
        # Any move is a gain, however small, and one out of what is not allowed is a whole one.
        return np.where(moved, np.maximum(np.nan_to_num(fallen, nan=1.0), np.finfo(np.float64).tiny), 0.0), knots, costs

    def steps(self, knots: Index, counts: Index) -> Array:
        """Costs of steps, inf where they are not allowed, with zeros around."""
        costs = self._cost.steps(knots, counts, to_zero=self._to_zero)
        if self._ratio_bound is not None:
            h = -np.diff(self._log[np.minimum(knots, len(self._log) - 1)], axis=1)
            long = h[:, 1:] > h[:, :-1] * self._ratio_bound * (1 + 1e-9)
            costs[:, 1:-1][long & (np.arange(2, knots.shape[1]) < counts[:, None])] = np.inf
        return np.pad(costs, ((0, 0), (1, self._touched)))
