"""Parts of a schedule: from a noise level on, for img2img and refiners, and through one, for a base model that hands over to a refiner."""

import math
from collections.abc import Sequence
from typing import NamedTuple

_SAME = 1e-4
"""Relative: levels this near are one, written in two precisions."""

_SHORTEST = 0.1
"""Share of a step, in the logarithm of the level: with less of it left, its end is passed over.

A multistep solver extrapolates by the ratio of a step to the one before it, so that a much shorter one would amplify the network's errors.
"""


class Levels(NamedTuple):
    """What a sampler goes through.

    Attributes:
        sigmas: N + 1 decreasing levels, in the scheduler's own coordinate; the last one may be 0.
        times: the model's native times of the first N.
    """

    sigmas: list[float]
    times: list[float]

    @property
    def steps(self) -> int:
        """Number of steps, N."""
        return len(self.times)


def from_level(whole: Levels, sigma: float, time: float) -> Levels:
    """The part of a schedule that starts at a level: that level, then those of the schedule below it.

    Args:
        whole: the schedule.
        sigma: the level to start at, positive.
        time: the model's native time of it.

    Returns:
        At least one step. Its first level is `sigma`, the others are the schedule's; a level of the schedule that is reached by less than
        a tenth of its step is passed over.

    Raises:
        ValueError: the schedule ends at or above the level.
    """
    sigmas, times = whole
    if sigma <= sigmas[-1]:
        msg = f"it ends at the level {sigmas[-1]:g}, and would have to start at {sigma:g}"
        raise ValueError(msg)
    first = sum(level > sigma * (1 + _SAME) for level in sigmas[:-1])
    if first < whole.steps and _nearly_there(sigmas, first, sigma):
        first += 1
    return Levels([sigma, *sigmas[first:]], [time, *times[first:]])


def through_level(whole: Levels, sigma: float, time: float, cutoff: float) -> Levels:
    """A schedule that also visits a level, so that it can stop there.

    Args:
        whole: the schedule.
        sigma: the level to visit, positive.
        time: the model's native time of it, below `cutoff`.
        cutoff: no level of a time from `time` up to this one is visited otherwise: the part that stops there is told by times.

    Returns:
        The levels before, the level, and those below as `from_level` has them.

    Raises:
        ValueError: no level of the schedule comes before it.
    """
    before = sum(one >= cutoff and level > sigma for level, one in zip(whole.sigmas[:-1], whole.times, strict=True))
    if before == 0:
        msg = f"it has no step before the level {sigma:g}"
        raise ValueError(msg)
    rest = from_level(whole, sigma, time)
    return Levels(whole.sigmas[:before] + rest.sigmas, whole.times[:before] + rest.times)


def twice_inside(part: Levels) -> Levels:
    """The levels as Heun's scheduler lists them: it evaluates every inner one twice, at the end of a step and at the start of the next."""
    sigmas, times = part
    return Levels([sigmas[0], *_twice(sigmas[1:-1]), sigmas[-1]], [times[0], *_twice(times[1:])])


def _twice(values: Sequence[float]) -> list[float]:
    return [value for value in values for _ in range(2)]


def _nearly_there(sigmas: Sequence[float], index: int, sigma: float) -> bool:
    """Whether so little is left of the step to a level that it is not worth an evaluation."""
    level = sigmas[index]
    if sigma <= level * (1 + _SAME):
        return True
    if len(sigmas) < 3:  # One step, and nothing to compare it with.
        return False
    upper, lower = (sigmas[index - 1], level) if index else (level, sigmas[1])
    return math.log(sigma / level) < _SHORTEST * math.log(upper / lower)
