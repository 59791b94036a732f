"""The tables that Align Your Steps published (Sabour, Fidler, Kreis 2024, https://arxiv.org/abs/2404.14507, Appendix).

For the models that they were found for, known by their noise levels. For discrete models the timesteps are the truth, for a continuous
one the levels.
"""

from collections.abc import Callable

import numpy as np

from worker.ays.noise import VP, Array, NoiseProcess, cosine_betas, scaled_linear_betas

_SAME = 0.01
"""Relative difference of noise levels up to which a model is taken for the one of a table."""

_TIMESTEPS: dict[str, tuple[Callable[[], Array], tuple[int, ...]]] = {
    "ays_sd15": (scaled_linear_betas, (999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0)),
    "ays_sdxl": (scaled_linear_betas, (999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0)),
    "ays_if": (cosine_betas, (995, 920, 811, 686, 555, 418, 315, 174, 109, 12, 0)),
}
_SVD = np.array([700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002])


def published(process: NoiseProcess) -> dict[str, Array]:
    """Published levels for a process, each of shape (11,), down to its lowest level; none where no table is for these noise levels."""
    if isinstance(process, VP):
        found = {name: (VP(betas()), np.array(times, dtype=np.float64)) for name, (betas, times) in _TIMESTEPS.items()}
        return {name: process.sigma(times) for name, (own, times) in found.items() if _alike(process, own, times)}
    ends = np.array([process.sigma_max, process.sigma_min])
    return {"ays_svd": _SVD} if process.kind == "edm" and np.allclose(ends, _SVD[[0, -1]], rtol=_SAME, atol=0) else {}


def _alike(process: VP, own: VP, times: Array) -> bool:
    return process.train_timesteps == own.train_timesteps and np.allclose(process.sigma(times), own.sigma(times), rtol=_SAME, atol=0)
