"""GITS: dynamic programming on how far a step leaves the trajectory (Chen et al. 2024, https://arxiv.org/abs/2405.11326, Section 4).

Sampling trajectories of a model share one shape: they hardly leave a plane, and bend where a step should be short. The cost of a step is
how much further from the chord (start to end of the trajectory) an Euler step lands than the teacher does, averaged over
trajectories; the schedule is the shortest path of n steps, later steps weighted by a power of 1.15.
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.baselines.problem import Problem
from benchmarks.baselines.teacher import Teacher, teacher
from worker.ays.noise import Array
from worker.ays.solvers import Solver

POINTS, TRAJECTORIES, DECAY = 61, 64, 1.15
"""Teacher levels, trajectories, and the weight of each later step (the paper uses 256 trajectories; the costs change little)."""


def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
    """Levels of the shortest path; the same for every solver, as the cost knows Euler steps only."""
    found = teacher(problem, points=POINTS, count=TRAJECTORIES)
    costs = problem.shared("gits", lambda: deviation_costs(found))
    return found.levels[shortest_path(costs, n, decay=DECAY)]


def deviation_costs(found: Teacher) -> Array:
    """Cost of the Euler step between any two teacher levels, inf where it does not go down, shape (G + 1, G + 1)."""
    start, end = found.states[0], found.states[-1]
    chord = (start - end) / (start - end).norm(dim=-1, keepdim=True)
    teacher_height = _height(found.states, end, chord)
    costs = np.full((len(found.levels),) * 2, np.inf)
    for i in range(len(found.levels) - 1):
        slope = (found.states[i] - found.estimates[i]) / found.levels[i]
        widths = torch.from_numpy(found.levels[i + 1 :] - found.levels[i]).reshape(-1, 1, 1)
        height = _height(found.states[i] + widths * slope, end, chord)
        costs[i, i + 1 :] = (height - teacher_height[i + 1 :]).mean(dim=1).numpy()
    return costs


def _height(x: Tensor, end: Tensor, chord: Tensor) -> Tensor:
    """Distance from the chord, shape (levels, count)."""
    offset = x - end
    return (offset - (offset * chord).sum(-1, keepdim=True) * chord).norm(dim=-1)


def shortest_path(costs: Array, n: int, *, decay: float) -> Array:
    """Indices of the cheapest path of n steps from the first node to the last, shape (n + 1,).

    The k-th step from the start is weighted by `decay^k`.
    """
    value, follow = costs[:, -1].copy(), []
    for _ in range(n - 1):
        total = costs + decay * value[None, :]
        follow.append(total.argmin(axis=1))
        value = total.min(axis=1)
    path = [0]
    for step in reversed(follow):
        path.append(int(step[path[-1]]))
    return np.array([*path, len(costs) - 1], dtype=np.intp)
