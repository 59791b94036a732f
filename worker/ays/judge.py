"""The judge: what the noises that no search has seen say of a schedule, and when they are sure of it.

A few heavy-tailed noises would like many a schedule that is worse on all others; nor may they alone forbid one that is surely better on all
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers import Solver
from worker.ays.validate import estimate

_SURE, _SURER = {False: 1.0, True: 0.5}, 2.0
"""Standard errors of the paired difference that make an improvement sure: as a rule, of an ODE and of an SDE; and on few noises, which are
likely to miss the tail of the errors. An SDE's errors scatter so much that the search's own gain is the better half of the evidence."""
_TAIL = 3.0
"""Medians of the errors at which an ODE's are clipped, to hear what the bulk of the noises says beside their tail."""
_LARGER = 0.9
"""Standard errors of the paired difference that make a mean surely larger: one noise more in another mode is one of them, or just less."""
_FEW, _CALM = 20, 0.2
"""Fewer noises of the judge than that are few, and say nothing unless they know their mean error to the second number, relatively."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Squared errors of a schedule.

    Attributes:
        judged: on the judge's noises, shape (n,).
        searched: on noises that the search has seen, shape (k,); of them only the tail is heard.
    """

    judged: Array
    searched: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def all(self) -> Array:
        """On all noises, shape (k + n,)."""
        return np.concatenate([self.searched, self.judged])


def surely_better(solver: Solver, errors: Array, others: Array) -> bool:
    """Whether squared errors of a method are smaller than others on the same noises, beyond doubt by chance; shapes (n,)."""
    change = estimate(errors - others)
    return change.mean < -(_SURER if len(errors) < _FEW else _SURE[solver.stochastic]) * change.standard_error


def gain(solver: Solver, errors: Errors, best: Errors, start: Errors) -> float | None:
    """Part by which squared errors are surely smaller than the best so far, in the mean or in the bulk; None: not surely.

    Of an ODE, noises that end in another mode of the data carry most of the mean and nearly all of its scatter. Where the judge's errors
    clipped at `_TAIL` medians of the best are surely smaller, it is enough that the mean is not surely larger than the best's and the
    start's. Such noises are rare, so all that there are count them; a search can hardly hide them.

    Args:
        solver: the method.
        errors: errors of a schedule.
        best: those of the best so far, on the same noises.
        start: those of the start of the search.
    """
    judged, others = errors.judged, best.judged
    less = float(1 - judged.mean() / max(others.mean(), 1e-300))
    sure = less if surely_better(solver, judged, others) else None
    top = _TAIL * float(np.median(others))
    bulk, before = np.minimum(judged, top), np.minimum(others, top)
    changes = (estimate(errors.all - best.all), estimate(errors.all - start.all))
    larger = any(change.mean > _LARGER * change.standard_error for change in changes)
    if solver.stochastic or larger or not surely_better(solver, bulk, before):
        return sure
    return max(less, float(1 - bulk.mean() / before.mean()))


def preferred(solver: Solver, tried: Sequence[Errors], best: Errors, start: Errors) -> tuple[int, float | None]:
    """Which of several schedules the judge likes best, and its `gain`; where none gains surely, the least mean error, and None."""
    gains = {i: less for i, errors in enumerate(tried) if (less := gain(solver, errors, best, start)) is not None}
    if not gains:
        return int(np.argmin([errors.judged.mean() for errors in tried])), None
    pick = max(gains, key=gains.__getitem__)
    return pick, gains[pick]


def telling(errors: Array) -> bool:
    """Whether errors on the judge's noises say anything about others; shape (n,)."""
    mean = estimate(errors)
    return len(errors) >= _FEW or mean.standard_error <= _CALM * mean.mean
