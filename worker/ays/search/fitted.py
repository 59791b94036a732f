r"""The fitted solver: levels, and for every step the weights of its last evaluations (docs/theory.md, section 13).

    Dhat_i = sum_m w_i[m] D_(i-m),    sum_m w_i[m] = 1,    x_(i+1) = r x_i + (1 - r) Dhat_i,    r = sigma_(i+1) / sigma_i.

The error that a step injects, `e = sigma_(i+1) integral (D_u - Dhat_i) d(1/u)`, is linear in the weights and its second moment a quadratic
form in them whose entries are all in the profile: so the best weights of any levels solve a small linear system (theory 23), their cost
is a cost of levels, and the shortest path with it has the best levels for the best weights. A least-squares fit along the sampler's own
rollout then corrects what earlier steps left behind.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import along
from worker.ays.noise import Array
from worker.ays.profile.cost import CostTable, Index, StepCost
from worker.ays.profile.integrals import cumulative
from worker.ays.profile.profile import Profile
from worker.ays.search.reference import ReferenceSet
from worker.ays.solvers import DDIM, HISTORY, Denoise

RIDGE = 1e-4
"""Ridge of both least-squares problems towards their prior, relative to the diagonal of the normal equations: larger ones cost accuracy,
without one nearly collinear evaluations get weights that amplify rounding."""
START_EXPONENT = 2.0
"""Exponent of the error weight of what a start below the highest level misses: an error of the whole sample, which is not forgotten. With
the exponents of the steps, 1 to 1.8, schedules start too low: on the two moons at 8 evaluations with six times the error."""
_REWEIGHTINGS = 5


class FittedCost:
    """Cost of steps with optimal weights, and these weights, from the profile alone."""

    def __init__(self, profile: Profile) -> None:
        """Prepare the integrals `A_g = integral of D d(1/u)` from the highest level to each, as moments.

        Args:
            profile: moments along the ODE's paths.
        """
        integral = cumulative(profile.levels, 1 / profile.levels)
        self.profile, self.levels, self._k = profile, profile.levels, profile.moments
        self._norm = integral.sum(1)
        self._cross = integral @ profile.moments  # <A_j, D_m>
        self._square = self._cross @ integral.T  # <A_j, A_l>

    def weights(self, knots: Sequence[int], end: int | None) -> Array:
        """Optimal weights of one step.

        Args:
            knots: grid indices of the combined evaluations, newest first.
            end: grid index where the step ends; None: at noise level 0, where the clean sample is the target.

        Returns:
            Shape (len(knots),), newest first, of sum 1.
        """
        newest, older, k = knots[0], np.array(knots[1:], dtype=np.intp), self._k
        if not older.size:
            return np.ones(1)
        if end is None:
            norm, target = 1.0, k[-1]
        else:
            norm, target = self._norm[end] - self._norm[newest], self._cross[end] - self._cross[newest]
        missed = target - norm * k[newest]
        gram = k[np.ix_(older, older)] - k[older, newest][:, None] - k[newest, older] + k[newest, newest]
        gram = gram + np.diag(RIDGE * np.diag(gram) + 1e-300)
        weights = np.linalg.solve(gram, missed[older] - missed[newest]) / norm
        return np.concatenate([[1 - weights.sum()], weights])

    def schedule_weights(self, knots: Index, *, to_zero: bool) -> Array:
        """Optimal weights of every step of a schedule on the grid, shape (N, HISTORY), zeros where there is no evaluation yet."""
        ends: list[int | None] = [*(int(knot) for knot in knots[1:]), *([None] if to_zero else [])]
        weights = np.zeros((len(ends), HISTORY))
        for step, end in enumerate(ends):
            used = [int(knots[step - m]) for m in range(min(HISTORY, step + 1))]
            weights[step, : len(used)] = self.weights(used, end)
        return weights

    def table(self, exponent: float) -> CostTable:
        """Costs of all steps of the grid, each with its best weights of at most two evaluations, at one exponent of the error weight."""
        k, g = self._k, len(self.levels)
        diagonal, index = np.diag(k), np.arange(g)
        scale = self.levels**exponent
        norm = self._norm[None, :] - self._norm[:, None]  # [i, j]
        own = self._cross.T - np.diag(self._cross)[:, None]  # <A_j - A_i, D_i>
        squares = np.diag(self._square)
        alone = squares[None, :] - 2 * self._square + squares[:, None] - 2 * norm * own + norm**2 * diagonal[:, None]
        other = self._cross.T[:, None, :] - self._cross.T[:, :, None]  # [k, i, j]: <A_j - A_i, D_k>
        missed = other - norm[None] * k[:, :, None] - own[None] + norm[None] * diagonal[None, :, None]
        gap = (diagonal[:, None] - 2 * k + diagonal[None, :]) * (1 + RIDGE) + 1e-300
        later = index[:, None] < index[None, :]
        step = np.where(later, np.maximum(alone, 0) * scale, np.inf)
        pair = np.maximum(alone[None] - missed**2 / gap[:, :, None], 0) * scale
        pair = np.where(later[:, :, None] & later[None], pair, np.inf)
        last_scale = scale[-1] * self.levels[-1] ** -2.0
        jump = np.maximum(k[-1, -1] - 2 * k[-1] + diagonal, 0)
        reach = (k[-1][:, None] - k) - (k[-1] - diagonal)[None, :]
        pair_to_zero = np.where(later, np.maximum(jump[None, :] - reach**2 / gap, 0) * last_scale, np.inf)
        start = StepCost(self.profile, DDIM, exponent=START_EXPONENT).start(index)
        return CostTable(self.levels, start, step, pair, jump * last_scale, step[:, -1], pair[:, :, -1], pair_to_zero)


def rollout_weights(denoise: Denoise, levels: Array, prior: Array, references: ReferenceSet) -> Array:
    """Weights by robust least squares along the sampler's own rollout, step by step.

    At each step the reference's next state, from the same starting noise, is regressed on the past evaluations of the rollout, over all
    samples and dimensions; Cauchy's loss over samples keeps the few that end in another mode from ruling the fit. It costs one evaluation
    a step and sample, and corrects what earlier steps left behind.

    Args:
        denoise: the model.
        levels: strictly decreasing, inner ones on the references' grid, the last may be 0, shape (N + 1,).
        prior: weights that the ridge draws to, shape (N, HISTORY).
        references: noises whose references kept their states.

    Returns:
        Shape (N, HISTORY), each row of sum 1.
    """
    denoise = along(denoise, references.indices)
    x, weights = float(levels[0]) * references.noise, np.zeros_like(prior)
    past: list[Tensor] = []
    for step, (now, then) in enumerate(pairwise(levels)):
        past = [denoise(x, torch.full((len(x),), float(now), dtype=x.dtype)), *past[: HISTORY - 1]]
        ratio = float(then / now)
        goal = references.reference if step + 2 == len(levels) else references.state(float(then))
        weights[step, : len(past)] = _regressed(past, (goal - ratio * x) / (1 - ratio), prior[step, : len(past)])
        combined = sum((float(w) * d for w, d in zip(weights[step], past, strict=False)), torch.zeros_like(x))
        x = ratio * x + (1 - ratio) * combined
    return weights


def _regressed(past: Sequence[Tensor], target: Tensor, prior: Array) -> Array:
    if len(past) == 1:
        return np.ones(1)
    a = torch.stack([(each - past[0]).flatten(1) for each in past[1:]], dim=2)
    y = (target - past[0]).flatten(1)
    found = prior[1:].copy()
    for _ in range(_REWEIGHTINGS):
        missed = (y - a @ torch.from_numpy(found)).square().sum(1)
        trust = 1 / (1 + missed / (missed.median() + 1e-300))
        gram = torch.einsum("n,ndk,ndl->kl", trust, a, a).numpy()
        ridge = np.diag(RIDGE * np.diag(gram) + 1e-300)
        right = torch.einsum("n,ndk,nd->k", trust, a, y).numpy()
        found = np.asarray(np.linalg.solve(gram + ridge, right + ridge @ prior[1:]), dtype=np.float64)
    return np.concatenate([[1 - found.sum()], found])
