"""Stock schedules and resampling, in plain Python: levels that need no measurement.

A list of levels is `steps + 1` noise-to-signal ratios, strictly decreasing from `sigma_max`. With terminal zero it is `steps`
levels down to `sigma_min` and then 0, as every sampler library does it; else `steps + 1` levels down to `sigma_min`.
"""

import bisect
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from ays_client.contract import Terminal

Stock = Literal["edm", "log_snr"]
"""`edm`: even in `sigma^(1/7)` (Karras et al. 2022); `log_snr`: even in `ln sigma`."""

STOCK: tuple[Stock, ...] = ("edm", "log_snr")

RHO = 7.0
"""Exponent of the EDM schedule."""


def stock(
    name: Stock, steps: int, *, sigma_min: float, sigma_max: float, terminal: Terminal = Terminal.ZERO, rho: float = RHO
) -> list[float]:
    """Levels of a stock schedule.

    Args:
        name: which one.
        steps: number of steps, at least 1.
        sigma_min: lowest level, positive.
        sigma_max: highest level, above `sigma_min`.
        terminal: whether the last level is 0 or `sigma_min`.
        rho: exponent of `edm`.

    Returns:
        `steps + 1` levels.

    Raises:
        ValueError: the range is empty or `steps` is below 1.
    """
    if not 0 < sigma_min < sigma_max or steps < 1:
        msg = f"received steps={steps}, sigma_min={sigma_min}, sigma_max={sigma_max}; expected steps >= 1, 0 < min < max"
        raise ValueError(msg)
    count = steps if terminal is Terminal.ZERO else steps + 1
    low, high = (sigma_min ** (1 / rho), sigma_max ** (1 / rho)) if name == "edm" else (math.log(sigma_min), math.log(sigma_max))
    shares = [index / (count - 1) for index in range(count)] if count > 1 else [0.0]
    marks = [high + share * (low - high) for share in shares]
    levels = [mark**rho for mark in marks] if name == "edm" else [math.exp(mark) for mark in marks]
    levels[0] = sigma_max
    if count > 1:
        levels[-1] = sigma_min
    return [*levels, 0.0] if terminal is Terminal.ZERO else levels


def resample(levels: Sequence[float], steps: int) -> list[float]:
    """Take a schedule to another number of steps: log-linear interpolation of its levels over the step index.

    Args:
        levels: a schedule of at least two positive levels; a last level 0 stays apart and is put back.
        steps: the new number of steps, at least 2.

    Returns:
        `steps + 1` levels with the first and the last of `levels`; with a terminal 0 also its last positive level.

    Raises:
        ValueError: fewer than two positive levels, or `steps` below 2.
    """
    terminal = [0.0] if levels[-1] == 0.0 else []
    knots = list(levels[: len(levels) - len(terminal)])
    count = steps + 1 - len(terminal)
    if len(knots) < 2 or count < 2:
        msg = f"received {len(knots)} positive levels and steps={steps}; expected at least 2 of both"
        raise ValueError(msg)
    logs = [math.log(knot) for knot in knots]
    inner = [math.exp(_at(logs, index * (len(knots) - 1) / (count - 1))) for index in range(1, count - 1)]
    return [knots[0], *inner, knots[-1], *terminal]


def _at(values: Sequence[float], position: float) -> float:
    index = min(int(position), len(values) - 2)
    share = position - index
    return (1.0 - share) * values[index] + share * values[index + 1]


def times_of_kind(kind: str, sigmas: Sequence[float]) -> list[float] | None:
    """Native times of noise levels where the kind of the process alone decides them.

    Args:
        kind: `ve` (time is sigma), `edm` (`ln(sigma) / 4`), `flow` (`sigma / (1 + sigma)`) or `vp`.
        sigmas: positive levels.

    Returns:
        One time per level; None for `vp`, where it depends on the model's betas.
    """
    match kind:
        case "ve":
            return list(sigmas)
        case "edm":
            return [math.log(sigma) / 4.0 for sigma in sigmas]
        case "flow":
            return [sigma / (1.0 + sigma) for sigma in sigmas]
    return None


def times_between(known: Sequence[tuple[float, float]], sigmas: Sequence[float]) -> list[float]:
    """Native times of noise levels from levels whose times are known: linear in `ln sigma`, also beyond their ends.

    Args:
        known: at least two pairs (sigma, time) with different positive sigmas, in any order.
        sigmas: positive levels.

    Returns:
        One time per level.
    """
    pairs = sorted({math.log(sigma): time for sigma, time in known}.items())
    logs = [log for log, _ in pairs]
    times = [time for _, time in pairs]
    result = []
    for sigma in sigmas:
        log = math.log(sigma)
        index = min(max(bisect.bisect_right(logs, log) - 1, 0), len(logs) - 2)
        share = (log - logs[index]) / (logs[index + 1] - logs[index])
        result.append(times[index] + share * (times[index + 1] - times[index]))
    return result


def whole_times(times: Sequence[float]) -> list[int] | None:
    """Times rounded to integers, or None where two of them would collide or leave their order."""
    rounded = [round(time) for time in times]
    return rounded if all(upper > lower for upper, lower in pairwise(rounded)) else None
