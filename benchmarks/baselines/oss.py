"""OSS: dynamic programming on the global error (Pei, Hu, Gu 2025, https://arxiv.org/abs/2503.21774, Algorithm 1).

`z[k][j]` is the state at level j that k Euler steps of a student reach best, going on from `z[k-1][i]` for every i above j. Each trajectory
has an optimum of its own; the schedule is their median, index by index (the paper's OSS-ave).
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.baselines.problem import Problem, picked
from benchmarks.baselines.teacher import teacher
from worker.ays.noise import Array
from worker.ays.solvers import Denoise, Solver

POINTS, TRAJECTORIES = 64, 8


def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
    """Median of the optimal schedules of a few trajectories; the same for every solver, as the search knows Euler steps only."""

    found = teacher(problem, points=POINTS, count=TRAJECTORIES)
    denoise = problem.denoise
    paths = problem.shared(("oss", n), lambda: optimal_paths(denoise, denoise.shape, found.levels, found.states, n))
    return picked(found.levels[:-1], np.median(paths, axis=0))


def optimal_paths(denoise: Denoise, shape: tuple[int, ...], levels: Array, goals: Tensor, n: int) -> Array:
    """Levels of the n Euler steps that end nearest to each of several fine solutions.

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
