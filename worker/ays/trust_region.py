r"""Refinement on a learnt denoiser: least squares that costs nothing, tried on the model within a region of trust.

A Jacobian by differences takes `N (N + 3) / 2` evaluations of every noise. Here a `Surrogate` (theory L) gives it, which learns from what
the students of the same noises have met, and an iteration costs the evaluations of the one schedule that it ends with. Their states teach
it most where the search is, so a step that fails is not lost: the region shrinks, and the next step knows better (trust regions: Conn,
Gould, Toint 2000). The judge's noises decide what is kept, as in `refine.py`.
"""

import numpy as np

from worker.ays.judge import Errors, gain, telling
from worker.ays.least_squares import Pace, blend, improved, largest_move, loss, shaken
from worker.ays.noise import Array
from worker.ays.refine import Refined
from worker.ays.solvers import Denoise, Solver
from worker.ays.surrogate import Surrogate
from worker.ays.validate import HeldOut, squared_errors

_SHAKEN, _SHAKEN_BY = 3, 0.3
"""Schedules around the start that the surrogate first learns from, and by how much of a gap their knots differ from it."""
_REGION, _GROWTH, _SHRINKAGE = 0.45, 1.5, 0.4
"""Largest move of a knot in an iteration, in gaps, at most and at first; and its factor after a step that held or failed."""
_ROUNDS, _SETTLED = 8, 1e-3
"""Steps on the surrogate in an iteration, and the relative gain of one below which no further is made."""
_FAILURES, _DOUBTS = 3, 3
"""Iterations in a row that may fail on the search noises, or that the judge may doubt."""
_TAIL = 20.0
"""Medians of the errors from which on a noise counts less in the fit. One that ends in another mode carries a thousand times the error of
the others; squares alone would turn the fit into a search for what brings two or three of them back."""
_WORTHWHILE = 0.01
"""Relative gain on the search noises, as the surrogate sees it, below which none is sought."""

_MOST_VALUES = 2**29
"""Values that a surrogate may keep: four GiB. Large samples are learnt along fewer noises, or not at all."""
_MOST_LEARNT = 400
"""Evaluations of a noise that it learns from at most: its equations are of that size."""


def opening_evaluations(solver: Solver, steps: int) -> int:
    """Evaluations of every search noise before the first iteration."""
    return (1 + _SHAKEN) * solver.evaluations(steps)


def learnable(dim: int, *, grid: int) -> int:
    """Noises of samples of so many values that a surrogate has room for, with fine solutions of `grid` levels."""
    return _MOST_VALUES // (dim * (3 * grid + _MOST_LEARNT))


def _predicted(
    solver: Solver, surrogate: Surrogate, levels: Array, region: float, tail: float, *, sigma_max: float, sigma_min: float
) -> Array | None:
    """Where the surrogate's descent from a schedule ends within the region; None: where it began, or hardly better."""
    noises = surrogate.noises

    def error_of(schedule: Array) -> float:
        return float(loss(squared_errors(solver, surrogate, schedule[None], noises)[0], tail))

    here, pace, begin = levels, Pace(), error_of(levels)
    error = begin
    for _ in range(_ROUNDS):
        found = improved(solver, surrogate, here, noises, pace, sigma_max=sigma_max, sigma_min=sigma_min, tail=tail)
        if found is None:
            break
        end, damping = found
        outside = largest_move(levels, end) > region
        if outside:
            end = blend(levels, end, region / largest_move(levels, end))
        reached = error_of(end)
        if reached >= error:
            break
        settled = reached > (1 - _SETTLED) * error
        pace, here, error = pace.after(here, end, damping), end, reached
        if outside or settled:
            break
    return here if error < (1 - _WORTHWHILE) * begin else None


def _tail(solver: Solver, errors: Array) -> float:
    """Squared error from which on a noise counts less: `_TAIL` medians; infinite where there is no error, and for one-step solvers.

    Errors of a longer memory cancel for the bulk of the noises; those of one step add up, and push more noises to another mode the larger
    they are.
    """
    return _TAIL * float(np.median(errors)) or np.inf if solver.multistep else np.inf


def descend(
    solver: Solver,
    denoise: Denoise,
    levels: Array,
    *,
    surrogate: Surrogate,
    search: HeldOut,
    judge: HeldOut,
    sigma_max: float,
    sigma_min: float,
    iterations: int,
) -> Refined:
    """Improve a schedule of a deterministic solver on the search noises, as long as the judge's noises agree.

    Args:
        solver: the method.
        denoise: the model.
        levels: start, strictly decreasing, shape (N + 1,); its terminal level stays.
        surrogate: what is known of the model along the search noises; it learns.
        search: these noises.
        judge: noises that decide.
        sigma_max: highest level that may be evaluated.
        sigma_min: lowest level that may be evaluated.
        iterations: largest number of iterations; none are made where the judge's noises are few and their errors scatter.
    """
    span = {"sigma_max": sigma_max, "sigma_min": sigma_min}
    judged = squared_errors(solver, denoise, levels[None], judge)[0]
    if len(levels) <= 2 or iterations < 1 or not telling(judged):
        return Refined(levels, judged, improved=False, iterations=0)
    watched = surrogate.watching(denoise)
    around = shaken(solver, levels, count=_SHAKEN, part=_SHAKEN_BY, **span)
    start = Errors(judged, squared_errors(solver, watched, np.stack([levels, *around]), search)[0])
    here, best, region = levels, levels, _REGION
    current = least = start
    done, failures, doubts = 0, 0, 0
    while done < iterations and failures < _FAILURES and doubts <= _DOUBTS and len(surrogate) < _MOST_LEARNT:
        surrogate.fit()
        tail = _tail(solver, current.searched)
        end = _predicted(solver, surrogate, here, region, tail, **span)
        if end is None:
            break
        done += 1
        searched = squared_errors(solver, watched, end[None], search)[0]
        if loss(searched, tail) >= loss(current.searched, tail):
            region, failures = _SHRINKAGE * region, failures + 1
            continue
        here, current = end, Errors(squared_errors(solver, denoise, end[None], judge)[0], searched)
        region, failures = min(_GROWTH * region, _REGION), 0
        sure = gain(solver, current, least, start) is not None
        doubts = 0 if sure else doubts + 1
        if sure:
            best, least = here, current
    return Refined(best, least.judged, improved=best is not levels, iterations=done)
