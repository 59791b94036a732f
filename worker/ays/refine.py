r"""Refinement: nonlinear least squares of the knots on the validation error, guarded by noises of its own.

The error of a schedule is a sum of squares of `e(z) = sample(z) - reference`, with `z = ln sigma` of the free knots. One rollout with
every knot moved in turn gives the Jacobian (a knot leaves the states before it unchanged: half the evaluations), and

    (J^T J + mu diag(J^T J)) step = - J^T e                                 (Levenberg 1944, Marquardt 1963) (theory 11)

moves all knots at once; the damping mu of an iteration is sought around the last one's. It sees what the cost cannot: errors of
successive steps that amplify or cancel, networks that misbehave. The fit is to the search noises, to one half of them and the other in
turn; the judge's noises decide what is kept: a schedule must improve on them by more than the standard error of the paired difference. A
few heavy-tailed noises would like many a schedule that is worse on all others; nor may they alone forbid one that is surely better on all
others. The search goes on from a step that the judge doubts, and ends with the second in a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from worker.ays.noise import Array
from worker.ays.solvers import Denoise, Solver
from worker.ays.validate import HeldOut, deviations, estimate, squared_errors

_DIFFERENCE, _LEAST_DIFFERENCE, _OF_LAST_MOVE = 0.1, 0.005, 0.25
"""Largest and least difference of the Jacobian, in gaps between knots, and what part of the last step it is in between: where errors
cancel, the valley is narrow and curved."""
_DAMPINGS, _AROUND = (1e-3, 0.1, 1.0), (0.1, 1.0, 10.0)
"""Dampings of the first iteration; those of the next, in multiples of what was best."""
_LONGEST_MOVE, _SHORT_MOVE = 0.45, 0.1
"""Longest move of a knot, in gaps to its neighbours; and where no such step is better, of those that are tried once more."""
_STRETCH = 2.0
"""Largest change of a gap's logarithm."""
_MOST_DIRECTIONS = 8
"""Numbers that move all knots of a one-step solver. Its error is smooth in the density of the steps; that of a longer memory is not."""
PARTS = (1.0, 0.4)
"""Parts of a step that the judge compares."""
_WORTHWHILE = 0.01
_SURE, _SURER = 1.0, 2.0
"""Standard errors of the paired difference that make an improvement sure: as a rule; and on few noises, which are likely to miss the tail
of the errors."""
_TAIL = 3.0
"""Medians of the errors at which an ODE's are clipped, to hear what the bulk of the noises says beside their tail."""
_DOUBTS = 1
"""Steps in a row that the judge may doubt: where it is sure of no single one, it may be sure of two together."""
_LEAST_SEEN = 12
"""Search noises that an iteration sees at least; of more than twice as many it sees half, and the next one sees the others: twice the
iterations are worth more than twice the residuals."""
_FEW, _CALM = 20, 0.2
"""Fewer noises of the judge than that are few, and say nothing unless they know their mean error to the second number, relatively."""


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
    first_moved = (_shapes(solver, steps) != 0).argmax(axis=1)
    jacobian = steps + int((steps - first_moved).sum())
    return (jacobian + (len(_DAMPINGS) + 1) * steps) * seen(search) + parts * steps * judge


def _shapes(solver: Solver, steps: int) -> Array:
    """Directions in which the knots move, in multiples of their gaps, shape (F, N): each alone, or hat functions of the index."""
    if solver.multistep or steps <= _MOST_DIRECTIONS:
        return np.eye(steps)
    index = np.arange(steps)
    centers = np.linspace(0, steps - 1, _MOST_DIRECTIONS)
    return np.array([np.interp(index, centers, hat) for hat in np.eye(_MOST_DIRECTIONS)])


def _directions(solver: Solver, levels: Array) -> Array:
    """Changes of ln sigma of the evaluated levels, one a row, shape (F, N).

    Every evaluated level moves, the first one too: at the top of the range a network often has nothing to say.
    """
    index = np.arange(len(levels) - 1)
    # Upwards, away from sigma_min; the first level downwards, away from sigma_max.
    gaps = np.log(levels[np.maximum(index - 1, 0)] / levels[index])
    gaps[0] = -np.log(levels[0] / max(levels[1], levels[0] / 10))
    return _shapes(solver, len(index)) * gaps


def _moved(levels: Array, step: Array, sigma_max: float, longest: float) -> Array:
    """Move the knots by `step` in ln sigma, none by more than `longest` of the gap to its neighbour or above sigma_max."""
    log = np.log(levels if levels[-1] > 0 else levels[:-1])
    gaps, evaluated = log[:-1] - log[1:], len(levels) - 1
    above = np.concatenate([[np.log(sigma_max) - log[0]], longest * gaps])[:evaluated]
    below = longest * np.concatenate([gaps, gaps[-1:]])[:evaluated]
    return np.append(levels[:-1] * np.exp(np.clip(step, -below, np.maximum(above, 0))), levels[-1])


def _stretched(levels: Array, step: Array, sigma_max: float) -> Array:
    """Move the knots by about `step` in ln sigma, as factors of the gaps between them: a long step need not be cut to keep their order."""
    log = np.log(levels[:-1])
    gaps = -np.diff(log)
    first = min(log[0] + np.clip(step[0], -_LONGEST_MOVE * gaps[0], _LONGEST_MOVE * gaps[0]), np.log(sigma_max))
    gaps = gaps * np.exp(np.clip(-np.diff(step) / gaps, -_STRETCH, _STRETCH))
    lowest = log[-1] - _LONGEST_MOVE * (log[-1] - np.log(levels[-1])) if levels[-1] > 0 else -np.inf
    return np.append(np.exp(np.maximum(first - np.concatenate([[0.0], gaps.cumsum()]), lowest)), levels[-1])


def _blend(start: Array, end: Array, fraction: float) -> Array:
    """Schedule part of the way from one to another, linear in ln sigma of the positive levels."""
    ratio = np.divide(end, start, out=np.ones_like(end), where=start > 0)
    return start * ratio**fraction


def _bounded(levels: Array, sigma_min: float) -> Array:
    """Keep evaluated levels at or above sigma_min, strictly decreasing."""
    bounded = levels.copy()
    evaluated = len(levels) - 1
    for index in range(evaluated - 1, 0, -1):
        floor = sigma_min if index == evaluated - 1 else bounded[index + 1] * (1 + 1e-6)
        bounded[index] = max(bounded[index], floor)
    return bounded


@dataclass(frozen=True)
class _Pace:
    """How boldly the next iteration goes: difference of the Jacobian, in gaps, and dampings."""

    difference: float = _DIFFERENCE
    dampings: tuple[float, ...] = _DAMPINGS

    def after(self, start: Array, end: Array, damping: float) -> "_Pace":
        """The pace after a step from one schedule to another; the first levels of both are positive."""
        log = np.log(start[:-1])
        moved = float(np.abs(np.log(end[:-1]) - log).max()) * (len(log) - 1) / float(log[0] - log[-1])
        difference = float(np.clip(_OF_LAST_MOVE * moved, _LEAST_DIFFERENCE, _DIFFERENCE))
        return _Pace(difference, tuple(damping * factor for factor in _AROUND))


def _normal_equations(e: Tensor, difference: float) -> tuple[Array, Array]:
    """`J^T J` and `J^T e`, shapes (F, F) and (F,), from deviations at the schedule and moved along every direction, shape (F + 1, R)."""
    jacobian = (e[1:] - e[0]) / difference
    return (jacobian @ jacobian.T).cpu().numpy(), (jacobian @ e[0]).cpu().numpy()


def _steps(hessian: Array, gradient: Array, dampings: Sequence[float]) -> list[Array]:
    """One step (theory 11) for each damping, shape (F,) each."""
    scale = np.diag(hessian) + 1e-12 * max(float(np.trace(hessian)), 1e-300)
    return [np.asarray(-np.linalg.solve(hessian + mu * np.diag(scale), gradient), dtype=np.float64) for mu in dampings]


def _improved(
    solver: Solver, denoise: Denoise, levels: Array, search: HeldOut, pace: _Pace, *, sigma_max: float, sigma_min: float
) -> tuple[Array, float] | None:
    """The schedule that the search noises like best of one iteration's steps, and its damping; None: they like none better."""
    directions = _directions(solver, levels)
    trials = np.repeat(levels[None], len(directions) + 1, axis=0)
    trials[1:, :-1] *= np.exp(pace.difference * directions)
    e = deviations(solver, denoise, trials, search).flatten(1)
    error = float(e[0].square().sum()) / len(search)
    steps = [step @ directions for step in _steps(*_normal_equations(e, pace.difference), pace.dampings)]
    usual = [_moved(levels, step, sigma_max, _LONGEST_MOVE) for step in steps] + [_stretched(levels, steps[0], sigma_max)]
    short = [_moved(levels, step, sigma_max, _SHORT_MOVE) for step in steps]
    for moved in (usual, short):
        tried = np.stack([_bounded(each, sigma_min) for each in moved])
        searched = squared_errors(solver, denoise, tried, search).mean(axis=1)
        choice = int(searched.argmin())
        if searched[choice] < error:
            return tried[choice], (*pace.dampings, pace.dampings[0])[choice]
    return None


def surely_better(errors: Array, others: Array) -> bool:
    """Whether squared errors are smaller than others on the same noises, beyond doubt by chance; shapes (n,)."""
    change = estimate(errors - others)
    return change.mean < -(_SURER if len(errors) < _FEW else _SURE) * change.standard_error


def gain(solver: Solver, errors: Array, best: Array, start: Array) -> float | None:
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
    larger = any(change.mean > change.standard_error for change in (estimate(errors - best), estimate(errors - start)))
    if solver.stochastic or larger or not surely_better(bulk, before):
        return sure
    return max(less, float(1 - bulk.mean() / before.mean()))


def _preferred(solver: Solver, judged: Array, best: Array, start: Array) -> tuple[int, float | None]:
    """Which of several schedules the judge likes best, and its `gain`; where none gains surely, the least mean error, and None.

    Errors on the judge's noises, shape (S, n) of the schedules, (n,) of the best so far and of the start.
    """
    gains = {i: less for i, errors in enumerate(judged) if (less := gain(solver, errors, best, start)) is not None}
    if not gains:
        return int(judged.mean(axis=1).argmin()), None
    pick = max(gains, key=gains.__getitem__)
    return pick, gains[pick]


def _telling(errors: Array) -> bool:
    """Whether errors on the judge's noises say anything about others; shape (n,)."""
    mean = estimate(errors)
    return len(errors) >= _FEW or mean.standard_error <= _CALM * mean.mean


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
    here, best, start = levels, levels, squared_errors(solver, denoise, levels[None], judge)[0]
    best_judged = start
    half = seen(len(search))
    halves = search.part(0, half), search.part(len(search) - half, len(search))
    done, doubts, pace = 0, 0, _Pace()
    for _ in range(iterations if len(levels) > 2 and _telling(start) else 0):
        found = _improved(solver, denoise, here, halves[done % 2], pace, sigma_max=sigma_max, sigma_min=sigma_min)
        done += 1
        if found is None:
            break
        end, damping = found
        # Of a step that is too long a part may be sure: both its gain and the standard error of that are linear in a short one.
        blends = np.stack([_blend(here, end, fraction) for fraction in parts])
        judged = squared_errors(solver, denoise, blends, judge)
        pick, less = _preferred(solver, judged, best_judged, start)
        doubts = doubts + 1 if less is None else 0
        if doubts > _DOUBTS:
            break
        pace, here = pace.after(here, blends[pick], damping), blends[pick]
        if less is None:
            continue
        best, best_judged = here, judged[pick]
        if less < _WORTHWHILE:
            break
    return Refined(best, best_judged, best is not levels, done)
