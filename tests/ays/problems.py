"""Small problems with known answers, shared by the tests."""

from collections.abc import Callable

import numpy as np
import torch

from worker.ays.analytic import AnisotropicGaussian, GaussianMixture
from worker.ays.denoise import Denoiser, Evaluator
from worker.ays.noise import Array
from worker.ays.paths import Stream, data_generator
from worker.ays.profile.profile import Profile, Shard, log_grid, measure_flow, measure_forward, merge
from worker.ays.solvers import SOLVERS

FIXED = {name: solver for name, solver in SOLVERS.items() if not solver.fitted}
"""Solvers whose weights follow from the levels alone."""


def spectrum(dim: int = 5, *, sigma_min: float = 0.02, sigma_max: float = 20.0) -> AnisotropicGaussian:
    """Gaussian whose variances span three decades."""
    return AnisotropicGaussian(torch.logspace(0, -3, dim, dtype=torch.float64), sigma_min=sigma_min, sigma_max=sigma_max)


def line(*, sigma_min: float = 0.05, sigma_max: float = 20.0) -> GaussianMixture:
    """Two unequal components on a line."""
    means, stds = torch.tensor([[-1.0], [0.6]]), torch.tensor([0.1, 0.3])
    return GaussianMixture(means, stds, torch.tensor([1.0, 2.0]), sigma_min=sigma_min, sigma_max=sigma_max)


def plane(*, sigma_min: float = 0.05, sigma_max: float = 20.0) -> GaussianMixture:
    """Three components in the plane."""
    means, stds = torch.tensor([[-1.0, 0.0], [0.6, 0.8], [0.5, -1.0]]), torch.tensor([0.15, 0.3, 0.2])
    return GaussianMixture(means, stds, torch.tensor([1.0, 2.0, 0.5]), sigma_min=sigma_min, sigma_max=sigma_max)


def evaluator(denoiser: Denoiser, *, batch: int = 4096) -> Evaluator:
    """A counting evaluator with batches that fit in one call."""
    return Evaluator(denoiser, batch=batch)


def flow_shard(law: Denoiser, *, points: int, paths: range, seed: int = 0, batch: int = 4096) -> Shard:
    """Moments along the law's own ODE."""
    levels = log_grid(law.sigma_max, law.sigma_min, points)
    return measure_flow(evaluator(law, batch=batch), law.shape, levels, paths, seed=seed)[0]


def forward_shard(law: AnisotropicGaussian | GaussianMixture, *, points: int, paths: range, seed: int = 0, batch: int = 4096) -> Shard:
    """Moments along forward paths of the law's data."""
    levels = log_grid(law.sigma_max, law.sigma_min, points)
    data = [law.sample_data(1, data_generator(i, seed=seed, stream=Stream.PROFILE)) for i in paths]
    return measure_forward(evaluator(law, batch=batch), torch.cat(data), levels, paths, seed=seed)


def flow_profile(law: Denoiser, *, points: int = 48, paths: int = 8, seed: int = 0) -> Profile:
    """Profile of one flow shard."""
    return merge([flow_shard(law, points=points, paths=range(paths), seed=seed)])


def forward_profile(law: AnisotropicGaussian | GaussianMixture, *, points: int = 48, paths: int = 8, seed: int = 0) -> Profile:
    """Profile of one forward shard."""
    return merge([forward_shard(law, points=points, paths=range(paths), seed=seed)])


def exact_forward_profile(mmse: Callable[[float], float], levels: Array) -> Profile:
    """Moments of an exact denoiser from its loss alone: `K[g, h] = mmse(min(sigma_g, sigma_h))` (the martingale identity)."""
    loss = np.array([mmse(float(level)) for level in levels])
    index = np.arange(len(levels))
    moments = loss[np.maximum(index[:, None], index[None, :])]
    return Profile("forward", levels, moments, np.zeros_like(moments), 1, 0)


def exact_flow_profile(law: AnisotropicGaussian, levels: Array, start: torch.Tensor) -> tuple[Profile, torch.Tensor]:
    """Moments along exact ODE paths of a Gaussian from states `start` (n, dim) at levels[0]; also the paths' states (G, n, dim)."""
    states = torch.stack([law.flow(start, float(levels[0]), float(level)) for level in levels])
    sigma = torch.from_numpy(np.repeat(levels, len(start)))
    estimates = law.denoise(states.flatten(0, 1), sigma).reshape(states.shape)
    residuals = (estimates - estimates[-1]).transpose(0, 1)
    moments = (residuals @ residuals.transpose(1, 2)).mean(0).numpy()
    return Profile("flow", levels, moments, np.zeros_like(moments), len(start), 0), states
