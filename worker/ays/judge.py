"""The judge: what the noises that no search has seen say of a schedule, and when they are sure of it.

A few heavy-tailed noises would like many a schedule that is worse on all others; nor may they alone forbid one that is surely better on all
others.
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers import Solver
from worker.ays.validate import estimate

_SURE, _SURER = 1.0, 2.0
"""Standard errors of the paired difference that make an improvement sure: as a rule; and on few noises, which are likely to miss the tail
of the errors."""
_TAIL = 3.0
"""Medians of the errors at which an ODE's are clipped, to hear what the bulk of the noises says beside their tail."""
import os
_LARGER = float(os.environ.get("LARGER", "0.9"))
"""Standard errors of the paired difference that make a mean surely larger: one noise more in another mode is one of them, or just less."""
_FEW, _CALM = 20, 0.2
"""Fewer noises of the judge than that are few, and say nothing unless they know their mean error to the second number, relatively."""


def surely_better(errors: Array, others: Array) -> bool:
    """Whether squared errors are smaller than others on the same noises, beyond doubt by chance; shapes (n,)."""
    change = estimate(errors - others)
    return change.mean < -(_SURER if len(errors) < _FEW else _SURE) * change.standard_error


def gain(solver: Solver, errors: Array, best: Array, start: Array, means=None) -> float | None:
    """Part by which squared errors are surely smaller than the best so far, in the mean or in the bulk; None: not surely.

    Of an ODE, noises that end in another mode of the data carry most of the mean and nearly all of its scatter. Where the errors clipped
    at `_TAIL` medians of the best are surely smaller, it is enough that the mean is not surely larger than the best's and the start's.

    Args:
        solver: the method.
        errors: errors of a schedule, shape (n,).
        best: those of the best so far, on the same noises.
        start: those of the start of the search.
    """
    less = float(1 - errors.mean() / max(best.mean(), 1e-300))
    sure = less if surely_better(errors, best) else None
    top = _TAIL * float(np.median(best))
    bulk, before = np.minimum(errors, top), np.minimum(best, top)
    larger = any(change.mean > _LARGER * change.standard_error for change in (means or (estimate(errors - best), estimate(errors - start))))
    if solver.stochastic or larger or not surely_better(bulk, before):
        return sure
    return max(less, float(1 - bulk.mean() / before.mean()))


def preferred(solver: Solver, judged: Array, best: Array, start: Array) -> tuple[int, float | None]:
    """Which of several schedules the judge likes best, and its `gain`; where none gains surely, the least mean error, and None.

    Errors on the judge's noises, shape (S, n) of the schedules, (n,) of the best so far and of the start.
    """
    gains = {i: less for i, errors in enumerate(judged) if (less := gain(solver, errors, best, start)) is not None}
    if not gains:
        return int(judged.mean(axis=1).argmin()), None
    pick = max(gains, key=gains.__getitem__)
    return pick, gains[pick]


def telling(errors: Array) -> bool:
    """Whether errors on the judge's noises say anything about others; shape (n,)."""
    mean = estimate(errors)
    return len(errors) >= _FEW or mean.standard_error <= _CALM * mean.mean
