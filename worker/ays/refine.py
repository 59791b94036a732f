r"""Refinement: nonlinear least squares of the knots on the validation error, guarded by noises of its own.

The error of a schedule is a sum of squares of `e(z) = sample(z) - reference`, with `z = ln sigma` of the free knots. One rollout with
every knot moved in turn gives the Jacobian (a knot leaves the states before it unchanged: half the evaluations), and

    (J^T J + mu diag(J^T J)) step = - J^T e                                              (Levenberg 1944, Marquardt 1963)

moves all knots at once. It sees what the cost cannot: errors of successive steps that amplify or cancel, networks that misbehave. The
fit is to the search noises; the judge's noises decide what is kept: a step must improve on them by more than the standard error of the
paired difference (an SDE's by two), else the search ends. A few heavy-tailed noises would like many a schedule that is worse on all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worker.ays.cost import Index
from worker.ays.noise import Array
from worker.ays.solvers import Denoise, Solver
from worker.ays.validate import HeldOut, deviations, estimate, squared_errors

_DIFFERENCE = 0.1
_DAMPING = (1e-3, 0.1, 1.0)
_LONGEST_MOVE = 0.45
PARTS = (1.0, 0.4)
"""Parts of a step that the judge compares."""
_WORTHWHILE = 0.01
_SURE, _SURER = 1.0, 2.0
"""Standard errors of the paired difference that make an improvement sure: as a rule; and for an SDE, whose errors scatter more and whose
cost leaves little to gain, or on few noises, which are likely to miss the tail of the errors."""
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


def iteration_evaluations(steps: int, search: int, judge: int, *, parts: int = len(PARTS)) -> int:
    """Upper bound on the evaluations of one iteration for a solver with one evaluation a step, `parts` parts of a step being judged."""
    return (steps * (steps + 3) // 2 + len(_DAMPING) * steps) * search + parts * steps * judge


def _free(levels: Array) -> Index:
    """Every evaluated level moves, the first one too: at the top of the range a network often has nothing to say."""
    return np.arange(len(levels) - 1)


def _moved(levels: Array, step: Array, sigma_max: float) -> Array:
    """Move the free knots by `step` in ln sigma, none by more than `_LONGEST_MOVE` of the gap to its neighbour or above sigma_max."""
    positive = levels if levels[-1] > 0 else levels[:-1]
    log = np.log(positive)
    index = _free(levels)
    gaps = log[:-1] - log[1:]
    above = np.concatenate([[np.log(sigma_max) - log[0]], _LONGEST_MOVE * gaps])[index]
    below = _LONGEST_MOVE * np.concatenate([gaps, gaps[-1:]])[index]
    moved = levels.copy()
    moved[index] = levels[index] * np.exp(np.clip(step, -below, np.maximum(above, 0)))
    return moved


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


def _normal_equations(solver: Solver, denoise: Denoise, levels: Array, held_out: HeldOut) -> tuple[Array, Array, float]:
    """`J^T J` and `J^T e` by one-sided differences of the free knots, shapes (F, F) and (F,), and the mean squared error there."""
    index = _free(levels)
    # Upwards, away from sigma_min; the first level downwards, away from sigma_max.
    moves = _DIFFERENCE * np.log(levels[np.maximum(index - 1, 0)] / levels[index])
    moves[0] = -_DIFFERENCE * np.log(levels[0] / max(levels[1], levels[0] / 10))
    trials = np.repeat(levels[None], len(index) + 1, axis=0)
    trials[np.arange(1, len(index) + 1), index] *= np.exp(moves)
    e = deviations(solver, denoise, trials, held_out).flatten(1)
    jacobian = (e[1:] - e[0]) / torch.from_numpy(moves).to(e).unsqueeze(1)
    return (jacobian @ jacobian.T).cpu().numpy(), (jacobian @ e[0]).cpu().numpy(), float(e[0].square().sum()) / len(held_out)


def _steps(hessian: Array, gradient: Array) -> list[Array]:
    """One step for each damping, shape (F,) each."""
    scale = np.diag(hessian) + 1e-12 * max(float(np.trace(hessian)), 1e-300)
    return [np.asarray(-np.linalg.solve(hessian + mu * np.diag(scale), gradient), dtype=np.float64) for mu in _DAMPING]


def surely_better(solver: Solver, errors: Array, others: Array) -> bool:
    """Whether squared errors of a solver are smaller than others on the same noises, beyond doubt by chance; shapes (n,)."""
    change = estimate(errors - others)
    return change.mean < -(_SURER if solver.stochastic or len(errors) < _FEW else _SURE) * change.standard_error


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
        search: noises that the least squares sees.
        judge: noises that decide.
        sigma_max: highest level that may be evaluated.
        sigma_min: lowest level that may be evaluated.
        iterations: largest number of iterations; none are made where the judge's noises are few and their errors scatter.
        parts: parts of a step that the judge compares.
    """
    best, best_judged = levels, squared_errors(solver, denoise, levels[None], judge)[0]
    done = 0
    for _ in range(iterations if len(levels) > 2 and _telling(best_judged) else 0):
        done += 1
        hessian, gradient, error = _normal_equations(solver, denoise, best, search)
        trials = np.stack([_bounded(_moved(best, step, sigma_max), sigma_min) for step in _steps(hessian, gradient)])
        searched = squared_errors(solver, denoise, trials, search).mean(axis=1)
        choice = int(searched.argmin())
        if searched[choice] >= error:
            break
        blends = np.stack([_blend(best, trials[choice], fraction) for fraction in parts])
        judged = squared_errors(solver, denoise, blends, judge)
        # Of a step that is too long a part may be sure: both its gain and the standard error of that are linear in a short one.
        sure = [i for i, errors in enumerate(judged) if surely_better(solver, errors, best_judged)]
        if not sure:
            break
        pick = min(sure, key=lambda i: float(judged[i].mean()))
        gain = 1 - judged[pick].mean() / best_judged.mean()
        best, best_judged = blends[pick], judged[pick]
        if gain < _WORTHWHILE:
            break
    return Refined(best, best_judged, best is not levels, done)
