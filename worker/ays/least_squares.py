r"""One step of nonlinear least squares for the knots of a schedule.

The error of a schedule is a sum of squares of `e(z) = sample(z) - reference`, with `z = ln sigma` of the free knots. One rollout with
every knot moved in turn gives the Jacobian (a knot leaves the states before it unchanged: half the evaluations), and

    (J^T J + mu diag(J^T J)) step = - J^T e                                 (Levenberg 1944, Marquardt 1963) (theory 11)

moves all knots at once; the damping mu of an iteration is sought around the last one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from worker.ays.noise import Array
from worker.ays.solvers import Denoise, Solver
from worker.ays.validate import HeldOut, deviations, squared_errors

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


def step_evaluations(solver: Solver, steps: int) -> int:
    """Most evaluations of `improved` for each noise, one a step of a sample; where no usual step is better, `3 steps` more."""
    first_moved = (_shapes(solver, steps) != 0).argmax(axis=1)
    return steps + int((steps - first_moved).sum()) + (len(_DAMPINGS) + 1) * steps


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


def shaken(solver: Solver, levels: Array, *, count: int, part: float, sigma_max: float, sigma_min: float) -> Array:
    """Schedules around one, every knot a part of its gap away from it, up or down, by the signs of Walsh's functions.

    Args:
        solver: the method.
        levels: the schedule, shape (N + 1,).
        count: number of schedules.
        part: of a gap.
        sigma_max: highest level.
        sigma_min: lowest level of an evaluation.

    Returns:
        Shape (count, N + 1).
    """
    directions = _directions(solver, levels)
    signs = [(-1.0) ** (np.arange(len(directions)) // 2**i) for i in range(count)]
    return np.stack([_bounded(_moved(levels, part * sign @ directions, sigma_max, _LONGEST_MOVE), sigma_min) for sign in signs])


def blend(start: Array, end: Array, fraction: float) -> Array:
    """Schedule part of the way from one to another, linear in ln sigma of the positive levels."""
    ratio = np.divide(end, start, out=np.ones_like(end), where=start > 0)
    return start * ratio**fraction


def largest_move(start: Array, end: Array) -> float:
    """Largest change of a knot's ln sigma from one schedule to another, in gaps to its nearer neighbour."""
    log = np.log(start[start > 0])
    gaps = -np.diff(log)
    nearer = np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
    return float((np.abs(np.log(end[: len(log)]) - log) / nearer).max())


def _bounded(levels: Array, sigma_min: float) -> Array:
    """Keep evaluated levels at or above sigma_min, strictly decreasing."""
    bounded = levels.copy()
    evaluated = len(levels) - 1
    for index in range(evaluated - 1, 0, -1):
        floor = sigma_min if index == evaluated - 1 else bounded[index + 1] * (1 + 1e-6)
        bounded[index] = max(bounded[index], floor)
    return bounded


@dataclass(frozen=True)
class Pace:
    """How boldly the next iteration goes: difference of the Jacobian, in gaps, and dampings."""

    difference: float = _DIFFERENCE
    dampings: tuple[float, ...] = _DAMPINGS

    def after(self, start: Array, end: Array, damping: float) -> "Pace":
        """The pace after a step from one schedule to another; the first levels of both are positive."""
        log = np.log(start[:-1])
        moved = float(np.abs(np.log(end[:-1]) - log).max()) * (len(log) - 1) / float(log[0] - log[-1])
        difference = float(np.clip(_OF_LAST_MOVE * moved, _LEAST_DIFFERENCE, _DIFFERENCE))
        return Pace(difference, tuple(damping * factor for factor in _AROUND))


def _normal_equations(e: Tensor, difference: float) -> tuple[Array, Array]:
    """`J^T J` and `J^T e`, shapes (F, F) and (F,), from deviations at the schedule and moved along every direction, shape (F + 1, R)."""
    jacobian = (e[1:] - e[0]) / difference
    return (jacobian @ jacobian.T).cpu().numpy(), (jacobian @ e[0]).cpu().numpy()


def loss(errors: Array, tail: float) -> Array:
    """Cauchy's loss of squared errors, `tail ln(1 + error / tail)`, averaged over the last axis; their mean where `tail` is infinite."""
    return errors.mean(axis=-1) if np.isinf(tail) else (tail * np.log1p(errors / tail)).mean(axis=-1)


def _steps(hessian: Array, gradient: Array, dampings: Sequence[float]) -> list[Array]:
    """One step (theory 11) for each damping, shape (F,) each."""
    scale = np.diag(hessian) + 1e-12 * max(float(np.trace(hessian)), 1e-300)
    return [np.asarray(-np.linalg.solve(hessian + mu * np.diag(scale), gradient), dtype=np.float64) for mu in dampings]


def improved(
    solver: Solver,
    denoise: Denoise,
    levels: Array,
    search: HeldOut,
    pace: Pace,
    *,
    sigma_max: float,
    sigma_min: float,
    tail: float = np.inf,
) -> tuple[Array, float] | None:
    """The schedule that the search noises like best of one iteration's steps, and its damping; None: they like none better.

    Args:
        solver: the method.
        denoise: the model.
        levels: the schedule.
        search: the noises.
        pace: how boldly it goes.
        sigma_max: highest level that may be evaluated.
        sigma_min: lowest level that may be evaluated.
        tail: squared error from which on a noise counts less and less (`loss`), by reweighted least squares.
    """
    directions = _directions(solver, levels)
    trials = np.repeat(levels[None], len(directions) + 1, axis=0)
    trials[1:, :-1] *= np.exp(pace.difference * directions)
    e = deviations(solver, denoise, trials, search)
    squares = e[0].square().sum(1)
    error = float(loss(squares.cpu().numpy(), tail))
    weighed = (e * (1 + squares / tail).rsqrt()[:, None]).flatten(1)
    steps = [step @ directions for step in _steps(*_normal_equations(weighed, pace.difference), pace.dampings)]
    usual = [_moved(levels, step, sigma_max, _LONGEST_MOVE) for step in steps] + [_stretched(levels, steps[0], sigma_max)]
    short = [_moved(levels, step, sigma_max, _SHORT_MOVE) for step in steps]
    for moved in (usual, short):
        tried = np.stack([_bounded(each, sigma_min) for each in moved])
        searched = loss(squared_errors(solver, denoise, tried, search), tail)
        choice = int(searched.argmin())
        if searched[choice] < error:
            return tried[choice], (*pace.dampings, pace.dampings[0])[choice]
    return None
