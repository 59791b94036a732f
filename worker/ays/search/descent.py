r"""Local descent: damped Gauss-Newton on the terminal error, for levels, or for levels and weights together.

The error of a schedule is a robust sum over samples of `|| e(z) ||^2`, `e(z) = sample(z) - reference`, where z holds ln sigma of the
evaluated levels and the free weights of every step. Cauchy's loss by reweighting (the samples that end in another mode count less), and

    (J^T J + mu diag(J^T J)) step = - J^T e                                 (Levenberg 1944, Marquardt 1963) (theory 11)

The Jacobian is measured by finite differences once, for which a schedule shares all evaluations before its first change with the others;
then every rollout teaches it the derivative along its own step (Broyden 1965), until a step fails and it is measured again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array
from worker.ays.profile.cost import Index
from worker.ays.search.candidates import Candidate
from worker.ays.search.statistics import robust_loss, tail_scale

DIFFERENCES = (0.1, 0.02)
"""Finite difference of the first Jacobian and of later ones: of a level in gaps to its neighbour, of a weight half as much. Near the end of
a descent the valley is narrow and curved."""
DAMPINGS = (1e-3, 0.1, 1.0)
"""Dampings that an iteration tries, in multiples of the current one; the middle one is also tried over `SHORT` of its step."""
SHORT = 0.4
LONGEST_MOVE = 0.45
"""Longest move of a level in an iteration, in gaps to its neighbours: less than a half keeps their order."""
WORTHWHILE = 1e-3
"""Relative decrease of the training loss below which a step ends the descent."""
MOST_VALUES = 2**28
"""Values of a Jacobian at most: 2 GiB. Larger samples are fitted on fewer noises."""

Deviations = Callable[[Array, Array | None], Tensor]
"""`(levels (S, N + 1), weights (S, N, H) or None)` -> distance vectors to the references, shape (S, n, dim)."""


@dataclass(frozen=True)
class Directions:
    """Changes of a schedule, one each.

    Attributes:
        log_levels: of ln sigma of the evaluated levels, shape (F, N).
        weights: of the weights, shape (F, N, H); None: levels only.
        units: size of a finite difference in each, relative to `DIFFERENCES`, shape (F,).
        evaluations: evaluations of a sample that change with each, shape (F,).
    """

    log_levels: Array
    weights: Array | None
    units: Array
    evaluations: Index

    @classmethod
    def of(cls, candidate: Candidate) -> "Directions":
        """Every evaluated level alone, the first one downwards, and every weight against that of the newest evaluation."""
        evaluated = len(candidate.levels) - 1
        log = np.log(candidate.levels[:-1])
        gaps = np.insert(log[:-1] - log[1:], 0, log[1] - log[0] if evaluated > 1 else -0.1)
        levels, left = np.diag(gaps), evaluated - np.arange(evaluated)
        if candidate.weights is None:
            return cls(levels, None, np.ones(evaluated), left)
        history = candidate.weights.shape[1]
        pairs = [(step, m) for step in range(evaluated) for m in range(1, min(history, step + 1))]
        weights = np.zeros((evaluated + len(pairs), evaluated, history))
        for row, (step, m) in enumerate(pairs, start=evaluated):
            weights[row, step, [0, m]] = -1.0, 1.0
        units = np.concatenate([np.ones(evaluated), np.full(len(pairs), 0.5)])
        changed = np.concatenate([left, [evaluated - 1 - step for step, _ in pairs]])
        return cls(np.concatenate([levels, np.zeros((len(pairs), evaluated))]), weights, units, changed)


class Derivatives(Protocol):
    """How the deviations change with each direction."""

    def jacobian(self) -> Tensor:
        """Derivatives, shape (F, n, dim)."""

    def observe(self, step: Array, change: Tensor) -> None:
        """Take note of the change of the deviations, shape (n, dim), along a step in the directions, shape (F,)."""


class Broyden:
    """Derivatives by finite differences at one schedule, and by what rollouts have shown since (Broyden 1965)."""

    def __init__(self, deviations: Deviations, at: Candidate, here: Tensor, directions: Directions, difference: float) -> None:
        """Measure them.

        Args:
            deviations: runs schedules.
            at: the schedule.
            here: its deviations, shape (n, dim).
            directions: what changes.
            difference: size of a finite difference of a level, in gaps.
        """
        size = difference * directions.units
        levels = np.repeat(at.levels[None], len(size), axis=0)
        levels[:, :-1] *= np.exp(size[:, None] * directions.log_levels)
        weights = None
        if at.weights is not None and directions.weights is not None:
            weights = at.weights + size[:, None, None] * directions.weights
        changes = deviations(levels, weights) - here
        self._jacobian = changes / torch.from_numpy(size)[:, None, None].to(changes)
        self._units = directions.units

    def jacobian(self) -> Tensor:
        """Derivatives, shape (F, n, dim)."""
        return self._jacobian

    def observe(self, step: Array, change: Tensor) -> None:
        """Correct them along a step by what it changed."""
        scaled = step / self._units**2
        length = float(step @ scaled)
        if length > 0:
            missed = change - torch.einsum("f,fnd->nd", torch.from_numpy(step).to(change), self._jacobian)
            self._jacobian += torch.from_numpy(scaled / length).to(change)[:, None, None] * missed


def measuring_evaluations(candidate: Candidate) -> int:
    """Evaluations of a sample that measuring the Jacobian takes, and one iteration's trials after it."""
    return int(Directions.of(candidate).evaluations.sum()) + len(candidate.levels) - 1 + iteration_evaluations(candidate)


def iteration_evaluations(candidate: Candidate) -> int:
    """Evaluations of a sample that the trials of an iteration take."""
    return (len(DAMPINGS) + 1) * (len(candidate.levels) - 1)


def descend(
    deviations: Deviations, start: Candidate, *, noises: int, sigma_max: float, sigma_min: float, left: Callable[[], int]
) -> Iterator[tuple[Candidate, Array]]:
    """Improve a schedule on training noises.

    Args:
        deviations: runs schedules on the training noises.
        start: the schedule; its terminal level stays.
        noises: number of training noises.
        sigma_max: highest level that may be evaluated.
        sigma_min: lowest level that may be evaluated.
        left: evaluations that may still be spent.

    Yields:
        Each schedule that is better on the training noises than the one before, and its squared errors there, shape (noises,).
    """
    here, damping = start, 1.0
    derivatives: Derivatives | None = None
    directions = Directions.of(here)
    e = deviations(start.levels[None], None if start.weights is None else start.weights[None])[0]
    fresh, measured = False, 0
    while len(start.levels) > 2:
        needed = measuring_evaluations(here) if derivatives is None else iteration_evaluations(here)
        if left() < noises * needed:
            return
        if derivatives is None:
            directions = Directions.of(here)
            derivatives = Broyden(deviations, here, e, directions, DIFFERENCES[min(measured, 1)])
            fresh, measured = True, measured + 1
        scale = tail_scale(_squares(e))
        steps = _steps(derivatives.jacobian(), e, scale, damping)
        moved = [_moved(here, directions, step, sigma_max, sigma_min) for step in steps]
        trials = deviations(np.stack([each.levels for each in moved]), _stacked(moved))
        losses = np.array([robust_loss(_squares(trial), scale).mean() for trial in trials])
        before, pick = float(robust_loss(_squares(e), scale).mean()), int(losses.argmin())
        derivatives.observe(_taken(here, moved[pick], directions), trials[pick] - e)
        if losses[pick] >= (1 - WORTHWHILE) * before:
            if fresh and measured > 1:
                return
            derivatives, damping = None, 1.0
            continue
        here, e, fresh = moved[pick], trials[pick].clone(), False
        damping = float(np.clip(damping * (*DAMPINGS, DAMPINGS[1])[pick] / DAMPINGS[1], 1e-6, 1e3))
        yield here, _squares(e)


def _squares(e: Tensor) -> Array:
    """Squared errors, shape (n,), of deviations of shape (n, dim)."""
    return e.square().sum(-1).cpu().numpy()


def _steps(jacobian: Tensor, e: Tensor, scale: float, damping: float) -> list[Array]:
    """One step in the directions for each damping, and a short one, shape (F,) each."""
    trust = (1 + e.square().sum(-1) / scale).rsqrt()[:, None]
    rows, target = (jacobian * trust).flatten(1), (e * trust).flatten()
    hessian, gradient = (rows @ rows.T).cpu().numpy(), (rows @ target).cpu().numpy()
    diagonal = np.diag(hessian) + 1e-12 * max(float(np.trace(hessian)), 1e-300)
    steps = [-np.linalg.solve(hessian + damping * each * np.diag(diagonal), gradient) for each in DAMPINGS]
    return [*steps, SHORT * steps[1]]


def _moved(candidate: Candidate, directions: Directions, step: Array, sigma_max: float, sigma_min: float) -> Candidate:
    """The schedule after a step; levels keep their order and the range."""
    log = np.log(candidate.levels[:-1] if candidate.levels[-1] == 0 else candidate.levels)
    gaps, evaluated = log[:-1] - log[1:], len(candidate.levels) - 1
    above = np.concatenate([[np.log(sigma_max) - log[0]], LONGEST_MOVE * gaps])[:evaluated]
    below = LONGEST_MOVE * np.append(gaps, gaps[-1:])[:evaluated]
    levels = np.append(
        candidate.levels[:-1] * np.exp(np.clip(step @ directions.log_levels, -below, np.maximum(above, 0))), candidate.levels[-1]
    )
    floor = sigma_min * (1 + 1e-6 * np.arange(evaluated)[::-1])
    levels[:-1] = np.maximum(levels[:-1], floor)
    if candidate.weights is None or directions.weights is None:
        return replace(candidate, levels=levels)
    return replace(candidate, levels=levels, weights=candidate.weights + np.tensordot(step, directions.weights, axes=1))


def _taken(before: Candidate, after: Candidate, directions: Directions) -> Array:
    """The step in the directions that was taken, after its levels were kept in order, shape (F,)."""
    evaluated = len(before.levels) - 1
    gaps = np.diagonal(directions.log_levels[:evaluated])
    step = np.log(after.levels[:-1] / before.levels[:-1]) / gaps
    if before.weights is None or after.weights is None or directions.weights is None:
        return step
    change = after.weights - before.weights
    inner = [change[s, m] for s in range(evaluated) for m in range(1, min(change.shape[1], s + 1))]
    return np.concatenate([step, inner])


def _stacked(candidates: Sequence[Candidate]) -> Array | None:
    return None if candidates[0].weights is None else np.stack([each.weights for each in candidates if each.weights is not None])
