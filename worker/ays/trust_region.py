r"""Refinement on a learnt denoiser: least squares that costs nothing, tried on the model within a region of trust.

A Jacobian by differences takes `N (N + 3) / 2` evaluations of every noise. Here a `Surrogate` gives it, which learns from what the
students of the same noises have met, and an iteration costs the evaluations of the one schedule that it ends with. Their states teach it
more where it matters, so a step that fails is not lost: the region shrinks, and the next step knows better (trust regions: Conn, Gould,
Toint 2000). The judge's noises decide what is kept, as in `refine.py`.
"""

import numpy as np, os

from worker.ays.judge import preferred, telling, gain
from worker.ays.least_squares import Pace, blend, improved, robust, largest_move, shaken
from worker.ays.noise import Array
from worker.ays.refine import Refined
from worker.ays.solvers import Denoise, Solver
from worker.ays.surrogate import Surrogate
from worker.ays.validate import HeldOut, squared_errors, estimate

_SHAKEN, _SHAKEN_BY = int(os.environ.get("SH","3")), float(os.environ.get("SB","0.3"))
"""Schedules around the start that the surrogate first learns from, and by how much of a gap their knots differ from it."""
_REGION, _GROWTH, _SHRINKAGE = 0.45, 1.5, 0.4
"""Largest move of a knot in an iteration, in gaps, at most and at first; and its factor after a step that held or failed."""
_ROUNDS, _SETTLED = 8, 1e-3
"""Steps on the surrogate in an iteration, and the relative gain of one below which no further is made."""
_FAILURES, _DOUBTS = 3, 3
"""Iterations in a row that may fail on the search noises, or that the judge may doubt."""
_WORTHWHILE = 0.01
"""Relative gain on the search noises, as the surrogate sees it, below which none is sought."""

_MOST_VALUES = 2**28
"""Values that a surrogate may keep: two GiB. Large samples are learnt along fewer noises, or not at all."""
_MOST_LEARNT = 400
"""Evaluations of a noise that it learns from at most: its equations are of that size."""


def opening_evaluations(solver: Solver, steps: int) -> int:
    """Evaluations of every search noise before the first iteration."""
    return (1 + _SHAKEN) * solver.evaluations(steps)


def learnable(dim: int, *, grid: int) -> int:
    """Noises of samples of so many values that a surrogate has room for, with fine solutions of `grid` levels."""
    return _MOST_VALUES // (dim * (3 * grid + _MOST_LEARNT))


def _predicted(
    solver: Solver, surrogate: Surrogate, levels: Array, region: float, *, sigma_max: float, sigma_min: float, tail: float
) -> tuple[Array, float] | None:
    """Where the surrogate's descent from a schedule ends within the region, and the error that it predicts; None: where it began."""
    noises = surrogate.noises
    here, pace = levels, Pace()
    begin = error = float(robust(squared_errors(solver, surrogate, levels[None], noises)[0], tail))
    for _ in range(_ROUNDS):
        found = improved(solver, surrogate, here, noises, pace, sigma_max=sigma_max, sigma_min=sigma_min, tail=tail)
        if found is None:
            break
        end, damping = found
        outside = largest_move(levels, end) > region
        if outside:
            end = blend(levels, end, region / largest_move(levels, end))
        reached = float(robust(squared_errors(solver, surrogate, end[None], noises)[0], tail))
        if reached >= error:
            break
        settled = reached > (1 - _SETTLED) * error
        pace, here, error = pace.after(here, end, damping), end, reached
        if outside or settled:
            break
    return (here, error) if error < (1 - _WORTHWHILE) * begin else None


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
    start = squared_errors(solver, denoise, levels[None], judge)[0]
    if len(levels) <= 2 or iterations < 1 or not telling(start):
        return Refined(levels, start, improved=False, iterations=0)
    watched = surrogate.watching(denoise)
    around = shaken(solver, levels, count=_SHAKEN, part=_SHAKEN_BY, **span)
    start_searched = squared_errors(solver, watched, np.stack([levels, *around]), search)[0]
    Q=float(os.environ.get('Q','20')); tail = Q*float(np.median(start_searched)) or np.inf
    error, best_searched = float(robust(start_searched,tail)), start_searched
    here, best, best_judged, region = levels, levels, start, _REGION
    done, failures, doubts = 0, 0, 0
    while done < iterations and failures < _FAILURES and doubts <= _DOUBTS and len(surrogate) < _MOST_LEARNT:
        surrogate.fit()
        predicted = _predicted(solver, surrogate, here, region, **span, tail=tail)
        if predicted is None:
            break
        end, done = predicted[0], done + 1
        searched = squared_errors(solver, watched, end[None], search)[0]
        found = float(robust(searched,tail))
        if found >= error:
            region, failures = _SHRINKAGE * region, failures + 1
            continue
        tail = Q*float(np.median(searched)) or np.inf
        found = float(robust(searched,tail))
        here, error, failures, region = end, found, 0, min(_GROWTH * region, _REGION)
        judged = squared_errors(solver, denoise, here[None], judge)
        if os.environ.get("JOINT","1")=="1":
            allof=np.concatenate([searched, judged[0]])
            less = gain(solver, judged[0], best_judged, start, means=(estimate(allof-np.concatenate([best_searched,best_judged])), estimate(allof-np.concatenate([start_searched,start]))))
        else: _, less = preferred(solver, judged, best_judged, start)
        doubts = 0 if less is not None else doubts + 1
        if less is not None:
            best, best_judged, best_searched = here, judged[0], searched
    return Refined(best, best_judged, improved=best is not levels, iterations=done)
