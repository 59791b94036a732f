r"""The denoiser of a diffusers network on a VP process.

The network sees $s x$ with $s = 1 / \sqrt{1 + \sigma^2}$ and the time $t(\sigma)$, a float; with its output $F$

    epsilon:       D = x - sigma F
    v_prediction:  D = x / (1 + sigma^2) - sigma / sqrt(1 + sigma^2) F
    sample:        D = F
"""

import math
from typing import Literal

import torch
from diffusers import UNet2DModel
from torch import Tensor

from worker.ays.noise import VP

Prediction = Literal["epsilon", "v_prediction", "sample"]

_CHUNK_VALUES = 2**18
"""Values of `x` in one forward pass: bounds memory whatever the batch, and fills two cores or a GPU with small images."""


class UNetDenoiser:
    """D(x, sigma) of an unconditional `UNet2DModel`; float32."""

    dtype = torch.float32

    def __init__(self, net: UNet2DModel, *, process: VP, prediction: Prediction, shape: tuple[int, ...]) -> None:
        """Wrap a network that is in evaluation mode and on its device.

        Args:
            net: the network.
            process: map from noise level to the network's time.
            prediction: what the network predicts.
            shape: (channels, height, width).
        """
        self._net = net
        self._process = process
        self._prediction = prediction
        self._chunk = max(1, _CHUNK_VALUES // math.prod(shape))
        self.shape = shape
        self.sigma_min, self.sigma_max = process.sigma_min, process.sigma_max
        self.device: torch.device = net.device

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean samples; x of shape (batch, *shape), sigma of shape (batch,)."""
        parts = zip(x.split(self._chunk), sigma.split(self._chunk), strict=True)
        return torch.cat([self._one(*part) for part in parts])

    def _one(self, x: Tensor, sigma: Tensor) -> Tensor:
        levels = sigma.double().cpu().numpy()
        time = torch.from_numpy(self._process.time(levels)).to(x)
        level = sigma.to(x).view(-1, 1, 1, 1)
        scale = torch.rsqrt(1 + level.square())
        output: Tensor = self._net(x * scale, time).sample
        match self._prediction:
            case "epsilon":
                return x - level * output
            case "v_prediction":
                return x * scale.square() - level * scale * output
            case "sample":
                return output
