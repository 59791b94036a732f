"""OSS: dynamic programming on the global error (Pei, Hu, Gu 2025, https://arxiv.org/abs/2503.21774, Algorithm 1).

Each trajectory has an optimum of its own, found by `worker.ays.imitation`, which enters our race on fewer and coarser ones; the schedule is
their median, index by index (the paper's OSS-ave).
"""

import numpy as np

from benchmarks.baselines.problem import Problem, picked
from benchmarks.baselines.teacher import teacher
from worker.ays.imitation import optimal_paths
from worker.ays.noise import Array
from worker.ays.solvers import Solver

POINTS, TRAJECTORIES = 64, 8


def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
    """Median of the optimal schedules of a few trajectories; the same for every solver, as the search knows Euler steps only."""

    found = teacher(problem, points=POINTS, count=TRAJECTORIES)
    denoise = problem.denoise
    paths = problem.shared(("oss", n), lambda: optimal_paths(denoise, denoise.shape, found.levels, found.states, n))
    return picked(found.levels[:-1], np.median(paths, axis=0))
