r"""A start that sees what the student carries along: dynamic programming on the global error of Euler steps.

The cost of a schedule adds up local errors on the model's own path. Where a network contradicts itself (its denoiser drifts, or was
never trained on a part of the range), the student leaves that path, and what it meets beside it no sum over the path knows. So one entry
of the race imitates fine solutions themselves (theory O) (OSS: Pei, Hu, Gu 2025, https://arxiv.org/abs/2503.21774, Algorithm 1):
`z[k][j]` is the state at level j that k steps of a student reach best, going on from `z[k-1][i]` for every i above j.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import along
from worker.ays.noise import Array
from worker.ays.paths import Stream, starting_noise
from worker.ays.schedule import Terminal
from worker.ays.solvers import SOLVERS, Denoise, trajectory

TRAJECTORIES, LEVELS = 4, 32
"""Fine solutions that are imitated, and levels that the student may visit."""

_MOST_VALUES = 2**26
"""Values of their states at all levels, at most: half a GiB. Long videos are imitated by fewer, or not at all."""

_LEAST_GAP = 1e-3
"""Least gap between levels, in even steps of ln sigma."""


def imitated(shape: tuple[int, ...], *, grid: int, steps: int) -> int:
    """How many fine solutions of `grid` levels can be imitated by `steps` steps; 0: none."""
    return min(TRAJECTORIES, _MOST_VALUES // (grid * math.prod(shape))) if 2 <= steps < grid else 0


def imitation_evaluations(count: int, *, grid: int, steps: int) -> int:
    """Evaluations that imitating `count` fine solutions of `grid` levels takes, about."""
    return count * (grid + 1 + (steps - 1) * max(LEVELS, steps + 1))


def imitation(
    denoise: Denoise, shape: tuple[int, ...], *, levels: Array, steps: int, terminal: Terminal, indices: Sequence[int], seed: int
) -> Array:
    """Schedule whose Euler steps end nearest to fine solutions: the mean, in ln sigma, of what is best for each of them.

    Args:
        denoise: the model.
        shape: shape of one sample.
        levels: grid of the fine solutions, strictly decreasing, > 0, shape (F,).
        steps: number of steps, < F.
        terminal: where the schedule ends.
        indices: which of the search's noises, as many as `imitated` says.
        seed: seed of the noises.

    Returns:
        Shape (steps + 1,), strictly decreasing.
    """
    noise = starting_noise(shape, indices, seed=seed, stream=Stream.SEARCH)
    states, estimates = (each.flatten(2) for each in trajectory(SOLVERS["dpmpp_2m"], along(denoise, indices), levels, noise))
    picked = np.unique(np.linspace(0, len(levels) - 1, max(LEVELS, steps + 1)).round().astype(np.intp))
    nodes, goals = levels[picked], states[picked]
    if terminal == "zero":
        nodes, goals = np.append(nodes, 0.0), torch.cat([goals, estimates[-1:]])
    paths = optimal_paths(along(denoise, indices), shape, nodes, goals, steps)
    lowest = levels[-1] if terminal == "zero" else levels[-1] * (levels[0] / levels[-1]) ** (_LEAST_GAP / steps)
    return np.append(_apart(np.log(nodes[paths]).mean(axis=0), float(np.log(lowest))), nodes[-1])


def _apart(log: Array, lowest: float) -> Array:
    """Levels of not increasing logarithms, made to decrease strictly and to stay at or above `lowest`."""
    gaps = _LEAST_GAP * (log[0] - lowest) / len(log) * np.arange(len(log))
    falling = np.minimum.accumulate(log + gaps) - gaps
    return np.exp(np.maximum(falling, lowest + gaps[::-1]))


def optimal_paths(denoise: Denoise, shape: tuple[int, ...], levels: Array, goals: Tensor, n: int) -> Array:
    """Levels of the n Euler steps that end nearest to each of several fine solutions (theory O).

    Args:
        denoise: the model; asked for all samples at every level, level by level.
        shape: shape of one sample.
        levels: strictly decreasing, the last may be 0, shape (G,).
        goals: states of the fine solutions at these levels, shape (G, count, dim), float64.
        n: number of steps.

    Returns:
        Indices of the evaluated levels of every solution's best steps, shape (count, n). A path of fewer steps is kept where more do
        not come nearer; its first level is then repeated.
    """
    sigma = torch.from_numpy(levels)
    nodes, count = goals.shape[:2]
    student = goals[:1].expand(nodes, count, -1).clone()
    error = torch.full((nodes, count), torch.inf, dtype=torch.float64)
    came_from = torch.zeros(nodes, count, dtype=torch.long)
    history = []
    for step in range(n):
        # In the first step only the start has a student; its copies at the other levels must not be used.
        sources = 1 if step == 0 else nodes - 1
        nearest = student.clone()
        estimates = _evaluate(denoise, student[:sources], sigma[:sources], shape)
        for i in range(sources):
            slope = (student[i] - estimates[i]) / sigma[i]
            reached = student[i] + (sigma[i + 1 :] - sigma[i]).reshape(-1, 1, 1) * slope
            distance = (reached - goals[i + 1 :]).square().sum(-1)
            better = distance < error[i + 1 :]
            error[i + 1 :] = torch.where(better, distance, error[i + 1 :])
            came_from[i + 1 :] = torch.where(better, i, came_from[i + 1 :])
            nearest[i + 1 :] = torch.where(better.unsqueeze(-1), reached, nearest[i + 1 :])
        student = nearest
        history.append(came_from.clone())
    path = [torch.full((count,), nodes - 1)]
    for sources_of in reversed(history):
        path.append(sources_of[path[-1], torch.arange(count)])
    return torch.stack(path[:0:-1], dim=1).numpy()


def _evaluate(denoise: Denoise, x: Tensor, levels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Denoiser at states of shape (nodes, count, dim), node by node at its level."""
    nodes, count, dim = x.shape
    estimate = denoise(x.reshape(nodes * count, *shape), levels.repeat_interleave(count))
    return estimate.reshape(nodes, count, dim)
