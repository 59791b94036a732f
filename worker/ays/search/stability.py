r"""How far a schedule can be trusted, given that its profile is an estimate.

`cost_of` turns the errors of K into the standard error of a schedule's cost, by the jackknife over groups of paths. `regret` asks what
matters: how much more than the optimum a schedule costs that was found on other paths. `contradictions` finds where a network cannot be
the denoiser of any data: along forward paths an exact one is a martingale, so for a above b

    E < r_b , r_a - r_b > = 0,    r = D - x_0                                                                  (theory 3)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.ays.noise import Array
from worker.ays.profile.cost import Index, tabulate
from worker.ays.profile.profile import Profile, refine_grid
from worker.ays.search.shortest_path import solve, spread
from worker.ays.search.statistics import Mean
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import Solver

STABLE = 0.2
"""Largest regret of a stable schedule. It is that of half of the paths: with all of them about half as much is left."""

_SPAN = 8
_SIGNIFICANT, _LARGE = 4.0, 0.5
_FINER = 4


@dataclass(frozen=True)
class Trust:
    """How far a schedule can be trusted.

    Attributes:
        cost: its cost, with the standard error that comes from the profile's.
        regret: as in `regret`.
    """

    cost: Mean
    regret: float

    @property
    def stable(self) -> bool:
        """Whether more paths would hardly change it."""
        return self.regret <= STABLE


def trust(profile: Profile, solver: Solver, weight: ErrorWeight, levels: Array) -> Trust:
    """How far a schedule can be trusted; levels strictly decreasing, shape (N + 1,)."""
    to_zero = bool(levels[-1] == 0)
    return Trust(cost_of(profile, solver, weight, levels), regret(profile, solver, weight, len(levels) - 1, to_zero=to_zero))


@dataclass(frozen=True)
class Contradiction:
    """A range of noise levels in which the network's estimates do not belong to one distribution of data.

    Attributes:
        sigma_min: lower end.
        sigma_max: upper end.
    """

    sigma_min: float
    sigma_max: float


def cost_of(profile: Profile, solver: Solver, weight: ErrorWeight, levels: Array) -> Mean:
    """Cost of a schedule, on the nearest levels of a grid four times as fine, with its standard error over paths.

    Args:
        profile: the estimate; without groups the standard error is infinite.
        solver: the method.
        weight: what it was optimized for.
        levels: the schedule, strictly decreasing, shape (N + 1,).
    """
    return Jackknife(profile).costs_of(solver, weight, [levels])[0]


class Jackknife:
    """Costs of schedules with the standard errors that come from a profile's paths."""

    def __init__(self, profile: Profile) -> None:
        """Refine the profile, whole and with each group of its paths left out; without groups standard errors are infinite."""
        groups = profile.groups if profile.groups is not None and len(profile.groups) > 1 else None
        self._parts = [refine_grid(profile, _FINER)]
        if groups is not None:
            mean, count = groups.mean(axis=0), len(groups)
            self._parts += [refine_grid(_with(profile, (count * mean - group) / (count - 1)), _FINER) for group in groups]

    def costs_of(self, solver: Solver, weight: ErrorWeight, schedules: Sequence[Array]) -> list[Mean]:
        """Costs of schedules of any lengths that end alike, as `cost_of` gives each."""
        knots = [_on_grid(self._parts[0], levels) for levels in schedules]
        to_zero = bool(schedules[0][-1] == 0)
        whole, *parts = (weight.cost(part, solver).totals(knots, to_zero=to_zero) for part in self._parts)
        if not parts:
            return [Mean(float(value), math.inf) for value in whole]
        values = np.stack(parts)
        errors = np.sqrt((len(values) - 1) / len(values) * np.square(values - values.mean(axis=0)).sum(axis=0))
        return [Mean(float(value), float(error)) for value, error in zip(whole, errors, strict=True)]


def regret(profile: Profile, solver: Solver, weight: ErrorWeight, steps: int, *, to_zero: bool) -> float:
    """What a schedule from one half of the paths costs on the other half, over that half's own optimum, less one; the mean of both ways.

    Infinite where the profile has no two groups of paths, 0 where no schedule of that many steps exists.
    """
    if profile.groups is None or len(profile.groups) < 2:
        return math.inf
    halves = [_with(profile, profile.groups[start::2].mean(axis=0)) for start in (0, 1)]
    short = solver.truncated(2)
    costs = [weight.cost(half, short) for half in halves]
    solutions = [solve(tabulate(cost), steps_max=steps, to_zero=to_zero, ratio_bound=weight.ratio_bound) for cost in costs]
    if not solutions[0].possible(steps):
        return 0.0
    knots = [solution.knots(steps) for solution in solutions]
    ratios = []
    for cost, own, other in zip(costs, knots, knots[::-1], strict=True):
        best = float(cost.total(own, to_zero=to_zero))
        ratios.append(float(cost.total(other, to_zero=to_zero)) / best - 1 if best > 0 else 0.0)
    return max(0.0, sum(ratios) / 2)


def contradictions(profile: Profile) -> list[Contradiction]:
    """Ranges where the martingale's increments are not orthogonal to the error, by more than four standard errors and half their size.

    Args:
        profile: measured along forward paths of the data that the network was trained for.
    """
    if profile.drift is None or profile.measure != "forward":
        return []
    g = len(profile.levels)
    span = max(1, g // _SPAN)
    above = np.arange(g - span)
    below = above + span
    k = profile.moments
    increment = k[above, above] - 2 * k[above, below] + k[below, below]
    drift, error = profile.drift[:, above, below]
    wrong = (np.abs(drift) > _SIGNIFICANT * error) & (np.abs(drift) > _LARGE * increment)
    found: list[Contradiction] = []
    for index in np.flatnonzero(wrong):
        low, high = float(profile.levels[below[index]]), float(profile.levels[above[index]])
        if found and found[-1].sigma_min <= high:
            found[-1] = replace(found[-1], sigma_min=low)
        else:
            found.append(Contradiction(low, high))
    return found


def _on_grid(profile: Profile, levels: Array) -> Index:
    positive = levels[levels > 0]
    nearest = np.abs(np.log(profile.levels)[:, None] - np.log(positive)).argmin(axis=0)
    return spread(nearest, len(profile.levels) - 1)


def _with(profile: Profile, moments: Array) -> Profile:
    """The profile with other moments, of shape (G + 1, G + 1), those of the mean last."""
    return replace(profile, moments=moments[:-1, :-1], mean_moments=moments[-1])
