r"""Exact minimization: the best schedule on the grid is a shortest path.

With V_n[i] (V_n[k, i] for 2M) the least cost of finishing from level i (reached from level k) in n more steps,

    V_n[k, i] = min_j  pair[k, i, j] + V_(n-1)[i, j],

so one backward sweep gives the global optimum for every number of steps and every starting level. A polish on an interpolated profile
then moves the knots off the measured grid.
"""

from dataclasses import dataclass

import numpy as np

from worker.ays.cost import CostTable, Index, StepCost
from worker.ays.noise import Array


@dataclass(frozen=True)
class Solution:
    """Optima of one cost table for every number of steps up to `steps_max` and every starting level.

    Attributes:
        levels: the grid, shape (G,).
        to_zero: whether schedules end with a step to noise level 0.
        value: `value[n - 1, i]`, least cost of n steps that start at level i without memory; inf where impossible; shape (steps_max, G).
        first: `first[n - 1, i]`, the level after level i in that optimum, shape (steps_max, G).
        follow: `follow[n - 1, k, i]`, the level after level i with n steps to go and the previous evaluation at k (one-step
            solvers: k is 0), shape (steps_max, G or 1, G).
    """

    levels: Array
    to_zero: bool
    value: Array
    first: Index
    follow: Index

    def knots(self, steps: int, *, start: int = 0) -> Index:
        """Grid indices of the optimal schedule.

        Args:
            steps: number of steps, 1 to steps_max, the step to 0 included.
            start: index of its first level.

        Returns:
            Shape (steps,) if it ends at 0 (which is not on the grid), else (steps + 1,), strictly increasing.

        Raises:
            ValueError: no schedule of that many steps starts there.
        """
        if not 1 <= steps <= len(self.value) or not np.isfinite(self.value[steps - 1, start]):
            msg = f"received steps={steps} from level {start} of {len(self.levels)}; expected at most {len(self.value)} and enough below"
            raise ValueError(msg)
        memory = self.follow.shape[1] > 1
        knots = [start]
        for left in range(steps, 1 if self.to_zero else 0, -1):
            here = knots[-1]
            if len(knots) == 1:
                knots.append(int(self.first[left - 1, here]))
            else:
                knots.append(int(self.follow[left - 1, knots[-2] if memory else 0, here]))
        return np.array(knots, dtype=np.intp)


def solve(table: CostTable, *, steps_max: int, to_zero: bool, ratio_bound: float | None = None) -> Solution:
    """Minimize the total cost for every number of steps and every starting level.

    Args:
        table: costs of steps.
        steps_max: largest number of steps.
        to_zero: whether the last step goes to noise level 0, from any level; otherwise it ends at the last level of the grid.
        ratio_bound: largest allowed `h_i / h_(i-1)` of successive steps, h = ln(sigma_i / sigma_(i+1)); for 2M only, where a long
            step after a short one amplifies earlier errors; None: any.
    """
    return _solve_pairs(table, steps_max, to_zero, ratio_bound) if table.pair is not None else _solve_single(table, steps_max, to_zero)


def _closing(table: CostTable, to_zero: bool) -> Array:
    if to_zero:
        return table.to_zero
    return table.step[:, -1] if table.to_last is None else np.where(np.isfinite(table.step[:, -1]), table.to_last, np.inf)


def _solve_single(table: CostTable, steps_max: int, to_zero: bool) -> Solution:
    g = len(table.levels)
    value = np.full((steps_max, g), np.inf)
    follow = np.full((steps_max, 1, g), g - 1, dtype=np.intp)
    value[0] = _closing(table, to_zero)
    for n in range(1, steps_max):
        total = table.step + value[n - 1][None, :]
        follow[n, 0] = total.argmin(axis=1)
        value[n] = total.min(axis=1)
    return Solution(table.levels, to_zero, value, follow[:, 0], follow)


def _solve_pairs(table: CostTable, steps_max: int, to_zero: bool, ratio_bound: float | None) -> Solution:
    g = len(table.levels)
    assert table.pair is not None
    pair = table.pair if ratio_bound is None else np.where(_ratios(table.levels) > ratio_bound * (1 + 1e-9), np.inf, table.pair)
    value = np.full((steps_max, g), np.inf)
    first = np.full((steps_max, g), g - 1, dtype=np.intp)
    follow = np.full((steps_max, g, g), g - 1, dtype=np.intp)
    value[0] = _closing(table, to_zero)
    ahead = np.broadcast_to(table.to_zero, (g, g)) if to_zero else pair[:, :, -1]
    for n in range(1, steps_max):
        start = table.step + ahead
        first[n], value[n] = start.argmin(axis=1), start.min(axis=1)
        total = pair + ahead[None]
        follow[n] = total.argmin(axis=2)
        ahead = np.take_along_axis(total, follow[n][:, :, None], axis=2)[:, :, 0]
    return Solution(table.levels, to_zero, value, first, follow)


def _ratios(levels: Array) -> Array:
    """`h_(i,j) / h_(k,i)`, shape (G, G, G); 0 where undefined."""
    log = np.log(levels)
    h = log[:, None] - log[None, :]
    return np.maximum(h, 0)[None, :, :] / np.where(h > 0, h, np.inf)[:, :, None]


def polish(cost: StepCost, knots: Index, *, to_zero: bool, ratio_bound: float | None = None) -> Index:
    """Local descent of the interior knots on a finer grid.

    Every knot tries a move of the current width either way; all moves that help on their own are made together if that helps, else the
    best one alone; the width halves when none helps.

    Args:
        cost: a cost on the finer grid.
        knots: indices on that grid, shape (n,); the first stays, and so does the last unless a step to 0 follows.
        to_zero: whether a step to noise level 0 follows.
        ratio_bound: as in `solve`.

    Returns:
        Indices of a schedule that costs no more, shape (n,).
    """
    best, width = knots.copy(), max(1, int(np.diff(knots).max(initial=1)) // 2)
    free = np.arange(1, len(knots) if to_zero else len(knots) - 1)
    value = _value(cost, best[None], to_zero, ratio_bound)[0]
    while width >= 1 and len(free):
        trials = np.repeat(best[None], 2 * len(free), axis=0)
        trials[np.arange(2 * len(free)), np.repeat(free, 2)] += np.tile([-width, width], len(free))
        values = _value(cost, trials, to_zero, ratio_bound).reshape(-1, 2)
        side = values.argmin(axis=1)
        gain = values.min(axis=1) < value * (1 - 1e-9)
        together = best.copy()
        together[free[gain]] += np.where(side[gain] == 0, -width, width)
        alone = trials[int(values.argmin())]
        pool = np.stack([best, together, alone])
        totals = _value(cost, pool, to_zero, ratio_bound)
        choice = int(totals.argmin())
        if not gain.any() or choice == 0:
            width //= 2
        best, value = pool[choice], totals[choice]
    return best


def _value(cost: StepCost, knots: Index, to_zero: bool, ratio_bound: float | None) -> Array:
    g = len(cost.levels)
    valid = (np.diff(knots, axis=1) > 0).all(axis=1) & (knots[:, -1] < g)
    if ratio_bound is not None and cost.multistep:
        h = -np.diff(np.log(cost.levels[np.clip(knots, 0, g - 1)]), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            valid &= ~(h[:, 1:] / h[:, :-1] > ratio_bound * (1 + 1e-9)).any(axis=1)
    total = np.full(len(knots), np.inf)
    if valid.any():
        total[valid] = cost.total(knots[valid], to_zero=to_zero)
    return total
