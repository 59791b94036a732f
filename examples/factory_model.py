"""Bring your own denoiser: a function that returns an object with `denoise`, `shape`, `sigma_min` and `sigma_max`.

Named in `examples/models.toml`; try it without a service, from the repository's folder:

    AYS_MODELS=examples/models.toml ays optimize two-moons --nfe 6 --local
"""

import math

import torch
from torch import Tensor


class TwoMoons:
    """Points on two interleaved half circles. The exact denoiser of a finite set is a softmax over its points."""

    shape = (2,)
    sigma_min, sigma_max = 0.01, 20.0

    def __init__(self, points: int) -> None:
        angle = torch.linspace(0, math.pi, points // 2)
        upper = torch.stack([angle.cos(), angle.sin()], 1)
        lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
        self.points = torch.cat([upper, lower])

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate x_0 from `x = x_0 + sigma eps`; x of shape (batch, 2), sigma of shape (batch,)."""
        squared = (x.unsqueeze(1) - self.points).square().sum(2)
        return (-squared / (2 * sigma.square().unsqueeze(1))).softmax(1) @ self.points

    def sample_data(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw clean samples; optional, without it the model's own samples are used."""
        return self.points[torch.randint(len(self.points), (n,), generator=generator)]


def two_moons(points: int = 200) -> TwoMoons:
    """The factory: `factory = "factory_model:two_moons"`."""
    return TwoMoons(points)
