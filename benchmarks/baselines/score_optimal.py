r"""Score-optimal schedules (Williams et al. 2024, https://arxiv.org/abs/2412.07877): constant speed in the geometry of the score.

The cost of going from level a to the neighbouring level b is the work of a Langevin corrector, $v(b)^2$ times the Fisher divergence
$E_{p_a} ||\nabla \log p_a - \nabla \log p_b||^2$, with velocity $v(\sigma) = \sigma$. Steps of equal length, the root of that cost, are
optimal. The score is $(D - x) / \sigma^2$.
"""

import numpy as np
import torch

from benchmarks.baselines.problem import Problem, even
from worker.ays.noise import Array
from worker.ays.paths import Stream, forward_paths
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import Solver

POINTS, SAMPLES = 64, 32


def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
    """Levels at equal lengths of the geodesic."""
    grid = log_grid(problem.sigma_max, problem.sigma_min, POINTS)
    lengths = problem.shared("score", lambda: step_lengths(problem, grid))
    return even(grid, np.concatenate([[0.0], lengths.cumsum()]), n)


def step_lengths(problem: Problem, grid: Array) -> Array:
    """Length of the way between neighbouring levels, shape (G - 1,)."""
    x_0 = problem.clean(SAMPLES)
    paths = forward_paths(x_0, grid, range(SAMPLES), seed=problem.seed, stream=Stream.TRAINING)[:-1].flatten(0, 1)
    high, low = (torch.from_numpy(np.repeat(levels, SAMPLES)) for levels in (grid[:-1], grid[1:]))
    scores = [(problem.denoise(paths, sigma) - paths) / _column(sigma.square(), paths) for sigma in (high, low)]
    divergence = (scores[0] - scores[1]).flatten(1).square().sum(1).reshape(len(grid) - 1, SAMPLES).mean(1)
    return grid[1:] * divergence.sqrt().numpy()


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))
