"""The perceptron and its denoiser."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worker.ays.noise import VP, linear_betas

_WIDTH, _LAYERS, _FREQUENCIES = 128, 3, 4
_WAVES = (2.0, 4.0, 8.0, 16.0)
"""Radians per unit of the coordinates' Fourier features: without them the inner turns are smeared."""


class Velocity(nn.Module):
    """v of points of the plane, given the noise level: a residual perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(2 + 4 * len(_WAVES) + 2 * _FREQUENCIES, _WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in range(_LAYERS))
        self.leave = nn.Linear(_WIDTH, 2)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Predict v.

        Args:
            x: scaled points `s x`, shape (n, 2).
            sigma: noise levels, shape (n,).
        """
        # arctan sigma, from 0 to pi / 2: the angle that data and noise are mixed at.
        angle = sigma.atan().unsqueeze(1) * torch.arange(1, _FREQUENCIES + 1).to(sigma)
        waves = (x.unsqueeze(2) * torch.tensor(_WAVES).to(x)).flatten(1)
        h = self.enter(torch.cat([x, waves.sin(), waves.cos(), angle.sin(), angle.cos()], dim=1))
        for layer in self.hidden:
            h = h + layer(nn.functional.silu(h))
        return self.leave(nn.functional.silu(h))


class SpiralDenoiser:
    """D(x, sigma) of the perceptron, by v-prediction on DDPM's linear betas; float32."""

    dtype, device = torch.float32, torch.device("cpu")
    shape: tuple[int, ...] = (2,)
    process = VP(linear_betas())
    sigma_min, sigma_max = process.sigma_min, process.sigma_max

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights that `train.py` saves."""
        net = Velocity()
        net.load_state_dict(weights)
        self.net = net.eval().requires_grad_(False)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean points; x of shape (n, 2), sigma of shape (n,)."""
        level = sigma.unsqueeze(1)
        scale = (1 + level.square()).rsqrt()
        return scale.square() * x - level * scale * self.net(scale * x, sigma)
