"""The denoiser of a diffusers network: preconditioning around a float32 forward pass."""

import math

import torch
from diffusers import UNet2DModel
from torch import Tensor

from worker.ays.noise import Array
from worker.models.preconditioning import coefficients
from worker.models.training import Training

_CHUNK_VALUES = 2**18
"""Values of `x` in one forward pass: bounds memory whatever the batch, and fills two cores or a GPU with small images."""


class UNetDenoiser:
    """D(x, sigma) of an unconditional `UNet2DModel`; float32."""

    dtype = torch.float32

    def __init__(self, net: UNet2DModel, *, training: Training, shape: tuple[int, ...]) -> None:
        """Wrap a network that is in evaluation mode and on its device.

        Args:
            net: the network.
            training: its noise process, and what it predicts.
            shape: (channels, height, width).
        """
        self._net = net
        self._training = training
        self._chunk = max(1, _CHUNK_VALUES // math.prod(shape))
        self.shape = shape
        self.sigma_min, self.sigma_max = training.process.sigma_min, training.process.sigma_max
        self.device: torch.device = net.device

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean samples; x of shape (batch, *shape), sigma of shape (batch,)."""
        parts = zip(x.split(self._chunk), sigma.split(self._chunk), strict=True)
        return torch.cat([self._one(*part) for part in parts])

    def _one(self, x: Tensor, sigma: Tensor) -> Tensor:
        def column(values: Array) -> Tensor:
            return torch.from_numpy(values).to(x).view(-1, *[1] * len(self.shape))

        c = coefficients(self._training.prediction, self._training.process, sigma.double().cpu().numpy())
        output = self._net(column(c.c_in) * x, torch.from_numpy(c.c_noise).to(x)).sample
        # A network that also predicts a variance has it in a second half of its channels.
        return column(c.c_skip) * x + column(c.c_out) * output[:, : self.shape[0]]
