"""A denoiser that waits as if it computed elsewhere: a GPU that costs this machine nothing, for models files."""

import time

import torch
from torch import Tensor

from worker.ays.analytic import GaussianMixture


class Sleeping(GaussianMixture):
    """The exact denoiser of three components in the plane; each call of `denoise` takes `seconds` longer."""

    def __init__(self, seconds: float) -> None:
        means, stds = torch.tensor([[-1.0, 0.0], [0.6, 0.8], [0.5, -1.0]]), torch.tensor([0.15, 0.3, 0.2])
        super().__init__(means, stds, sigma_min=0.02, sigma_max=20.0)
        self._seconds = seconds

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate x_0 from `x = x_0 + sigma eps`; x of shape (batch, 2), sigma of shape (batch,)."""
        time.sleep(self._seconds)
        return super().denoise(x, sigma)


def sleeping(seconds: float) -> Sleeping:
    """The factory: `factory = "benchmarks.sleeping:sleeping"`, with `seconds` among its arguments."""
    return Sleeping(seconds)
