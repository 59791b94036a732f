r"""Refinement: least squares of the knots on the validation error (theory 11), guarded by noises of its own.

It sees what the cost cannot: errors of successive steps that amplify or cancel, networks that misbehave. The fit is to the search noises,
to one half of them and the other in turn; the judge's noises decide what is kept: a schedule must improve on them by more than the
standard error of the paired difference. The search goes on from a step that the judge doubts, and ends with the second in a row.

This one asks the model for every derivative. What an ODE's students met can be learnt instead: see `trust_region.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.ays.judge import Errors, preferred, telling
from worker.ays.least_squares import Pace, blend, improved, step_evaluations
from worker.ays.noise import Array
from worker.ays.solvers import Denoise, Solver
from worker.ays.validate import HeldOut, squared_errors

PARTS = (1.0, 0.4)
"""Parts of a step that the judge compares."""
_WORTHWHILE = 0.01
_DOUBTS = 1
"""Steps in a row that the judge may doubt: where it is sure of no single one, it may be sure of two together."""
_LEAST_SEEN = 12
"""Search noises that an iteration sees at least; of more than twice as many it sees half, and the next one sees the others: twice the
iterations are worth more than twice the residuals."""


@dataclass(frozen=True)
class Refined:
    """Outcome of a refinement.

    Attributes:
        levels: the kept schedule, shape (N + 1,).
        judged: its squared errors on the judge's noises, shape (n,).
        improved: whether it differs from the start.
        iterations: iterations made.
    """

    levels: Array
    judged: Array
    improved: bool
    iterations: int


def seen(search: int) -> int:
    """How many of so many search noises an iteration sees."""
    return min(search, max(_LEAST_SEEN, (search + 1) // 2))


def iteration_evaluations(solver: Solver, steps: int, search: int, judge: int, *, parts: int = len(PARTS)) -> int:
    """Most evaluations of one iteration, one a step, `parts` parts of a step being judged.

    Where no step of the usual length is better, shorter ones add `3 steps seen(search)`.
    """
    return step_evaluations(solver, steps) * seen(search) + parts * steps * judge


def refine(
    solver: Solver,
    denoise: Denoise,
    levels: Array,
    *,
    search: HeldOut,
    judge: HeldOut,
    sigma_max: float,
    sigma_min: float,
    iterations: int,
    parts: Sequence[float] = PARTS,
) -> Refined:
    """Improve a schedule on the search noises as long as the judge's noises agree.

    Args:
        solver: the method.
        denoise: the model.
        levels: start, strictly decreasing, shape (N + 1,); its terminal level stays.
        search: noises that the least squares sees, one half and the other in turn.
        judge: noises that decide.
        sigma_max: highest level that may be evaluated.
        sigma_min: lowest level that may be evaluated.
        iterations: largest number of iterations; none are made where the judge's noises are few and their errors scatter.
        parts: parts of a step that the judge compares.
    """
    here, best, start = levels, levels, Errors(squared_errors(solver, denoise, levels[None], judge)[0])
    least = start
    half = seen(len(search))
    halves = search.part(0, half), search.part(len(search) - half, len(search))
    done, doubts, pace = 0, 0, Pace()
    for _ in range(iterations if len(levels) > 2 and telling(start.judged) else 0):
        found = improved(solver, denoise, here, halves[done % 2], pace, sigma_max=sigma_max, sigma_min=sigma_min)
        done += 1
        if found is None:
            break
        end, damping = found
        # Of a step that is too long a part may be sure: both its gain and the standard error of that are linear in a short one.
        blends = np.stack([blend(here, end, fraction) for fraction in parts])
        tried = [Errors(judged) for judged in squared_errors(solver, denoise, blends, judge)]
        pick, less = preferred(solver, tried, least, start)
        doubts = doubts + 1 if less is None else 0
        if doubts > _DOUBTS:
            break
        pace, here = pace.after(here, blends[pick], damping), blends[pick]
        if less is None:
            continue
        best, least = here, tried[pick]
        if less < _WORTHWHILE:
            break
    return Refined(best, least.judged, best is not levels, done)
