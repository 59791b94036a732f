r"""The search of Align Your Steps as published (Sabour, Fidler, Kreis 2024, Algorithm 1), made safe.

Coordinate descent without gradients: every interior knot in turn takes the best of a few candidates around it, by the estimate of
`klub_estimator.py` (theory 14). The converged minimizer is a bad image schedule (their Appendix A.3), so the schedule is recorded after
every sweep and a judge, the error of the real solver on held-out noises, says which one to keep: never the last one by itself. The kept
schedule is refined from 10 to 20 to 40 steps: log-midpoints are inserted and optimized while the old knots stay.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from worker.ays.noise import Array
from worker.ays.paper.klub_estimator import KlubEstimates

BASE_STEPS = 10
"""Steps of the schedule that is stopped early."""

Klub = Callable[[float, Array, float], KlubEstimates]
"""`(low, candidates, high)` -> the bound over both intervals, for every candidate."""


@dataclass(frozen=True)
class Neighbourhood:
    """Where candidates for a knot lie; the paper names their number only.

    Attributes:
        candidates: how many, odd: the knot itself and as many on either side.
        width: the share of the gap in ln sigma to each neighbour that they span, in (0, 1].
    """

    candidates: int = 11
    width: float = 1.0

    def around(self, low: float, mid: float, high: float) -> Array:
        """Candidates strictly between the neighbours, the knot itself first, shape (candidates,)."""
        half = self.candidates // 2
        shares = self.width * np.arange(1, half + 1) / (half + 1)
        log = np.log([low, mid, high])
        return np.concatenate([[mid], np.exp(log[1] + shares * (log[0] - log[1])), np.exp(log[1] + shares * (log[2] - log[1]))])


@dataclass(frozen=True)
class Recorded:
    """A schedule after a sweep.

    Attributes:
        levels: shape (steps + 1,).
        judged: squared errors on the judge's noises, shape (n,).
    """

    levels: Array
    judged: Array


def sweep(klub: Klub, levels: Array, knots: range, neighbourhood: Neighbourhood) -> Array:
    """Move each of some knots in turn to its best candidate, from the lowest level up as in the paper.

    Args:
        klub: the objective.
        levels: strictly decreasing, > 0, shape (steps + 1,).
        knots: indices of the knots that may move, without the ends.
        neighbourhood: their candidates.

    Returns:
        The schedule after the sweep, a new array; equal to `levels` where nothing was better.
    """
    moved = levels.copy()
    for i in reversed(knots):
        candidates = neighbourhood.around(moved[i + 1], moved[i], moved[i - 1])
        moved[i] = candidates[int(klub(moved[i + 1], candidates, moved[i - 1]).mean.argmin())]
    return moved


Sweep = Callable[[Klub, Array, range, Neighbourhood], Array]
"""`sweep`, or what remembers its results."""


def descend(klub: Klub, levels: Array, neighbourhood: Neighbourhood, *, sweep: Sweep = sweep) -> Iterator[Array]:
    """The schedule after every sweep over all interior knots, as long as one of them still moves."""
    while True:
        after = sweep(klub, levels, range(1, len(levels) - 1), neighbourhood)
        if np.array_equal(after, levels):
            return
        levels = after
        yield levels


def stop_early(descent: Iterator[Array], start: Array, judge: Callable[[Array], Array], *, sweeps: int, patience: int) -> list[Recorded]:
    """Record the start and the schedule after every sweep, until the judge has not liked any better for `patience` of them.

    Args:
        descent: schedules after each sweep.
        start: the schedule before the first.
        judge: squared errors of a schedule on held-out noises, shape (n,).
        sweeps: largest number of sweeps.
        patience: sweeps without a smaller mean error that end the search.

    Returns:
        The record, the start first; the one to keep is `best(record)`.
    """
    record = [Recorded(start, judge(start))]
    for levels in islice(descent, sweeps):
        record.append(Recorded(levels, judge(levels)))
        if len(record) - 1 - best(record) >= patience:
            break
    return record


def best(record: list[Recorded]) -> int:
    """Index of the schedule with the smallest mean error, the earliest of equal ones."""
    return int(np.argmin([entry.judged.mean() for entry in record]))


def subdivide(levels: Array) -> Array:
    """Insert the log-midpoint of every interval, shape (2 steps + 1,)."""
    finer = np.empty(2 * len(levels) - 1)
    finer[::2] = levels
    finer[1::2] = np.sqrt(levels[:-1] * levels[1:])
    return finer


def optimize_midpoints(klub: Klub, levels: Array, neighbourhood: Neighbourhood, *, sweeps: int, sweep: Sweep = sweep) -> Array:
    """Optimize the knots that `subdivide` has inserted, the others frozen: each is alone between two fixed ones.

    Args:
        klub: the objective.
        levels: a subdivided schedule, shape (2 k + 1,).
        neighbourhood: candidates.
        sweeps: largest number of sweeps; fewer where no knot moves any more.
        sweep: makes one.
    """
    for _ in range(sweeps):
        after = sweep(klub, levels, range(1, len(levels), 2), neighbourhood)
        if np.array_equal(after, levels):
            break
        levels = after
    return levels
