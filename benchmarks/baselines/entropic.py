r"""Rescaled entropic time: equal steps of `integral sigma dH[x_0 | x_sigma]` (https://arxiv.org/abs/2504.13612).

Stancevic, Handke and Ambrogioni 2025. The entropy grows with $dH = mmse(\sigma) / \sigma^3\, d\sigma$, so the time is
$\int mmse(\sigma) / \sigma^2\, d\sigma$: a denoising-loss curve, one evaluation for each sample and level, is all that is needed. The
formula is that of `worker.ays.profile.curve`.
"""

import numpy as np
import torch

from benchmarks.baselines.problem import Problem, closed
from worker.ays.noise import Array
from worker.ays.paths import Stream, forward_paths
from worker.ays.profile.curve import Curve, entropic
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import Solver

POINTS, SAMPLES = 64, 64


def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
    """Levels at equal steps of the time, the last of which gives way to 0."""
    grid = log_grid(problem.sigma_max, problem.sigma_min, POINTS)
    loss = problem.shared("loss", lambda: loss_curve(problem, grid))
    span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
    return closed(entropic(Curve.fitted(grid[::-1], loss[::-1]), n, **span, terminal="sigma_min"))


def loss_curve(problem: Problem, grid: Array) -> Array:
    """Denoising loss `E ||D - x_0||^2` at every level, shape (G,)."""
    x_0 = problem.clean(SAMPLES)
    paths = forward_paths(x_0, grid, range(SAMPLES), seed=problem.seed, stream=Stream.TRAINING)
    sigma = torch.from_numpy(np.repeat(grid, SAMPLES))
    estimate = problem.denoise(paths.flatten(0, 1), sigma).reshape(paths.shape)
    return (estimate - x_0).flatten(2).square().sum(2).mean(1).numpy()
