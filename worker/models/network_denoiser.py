"""The denoiser of a diffusers network: preconditioning in float32 around a forward pass in the network's own precision."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worker.ays.noise import Array
from worker.models.conditions import Conditions
from worker.models.families.adapter import Adapter
from worker.models.preconditioning import coefficients
from worker.models.training import Training

_CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"


@dataclass(frozen=True, kw_only=True)
class NetworkDenoiser:
    """D(x, sigma) of a network; float32 in and out.

    Attributes:
        net: the network, in evaluation mode and on its device.
        adapter: how it is called.
        training: its noise process, and what it predicts.
        given: its conditions, on its device and in its precision; null for an unconditional network.
        guidance_scale: of guidance; null without.
        precision: of the forward pass.
        device: where it is evaluated.
    """

    net: Any
    adapter: Adapter
    training: Training
    given: Conditions | None
    guidance_scale: float | None
    precision: torch.dtype
    device: torch.device
    dtype: torch.dtype = torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.adapter.shape

    @property
    def sigma_min(self) -> float:
        """Lowest noise level of training."""
        return self.training.process.sigma_min

    @property
    def sigma_max(self) -> float:
        """Highest noise level of training."""
        return self.training.process.sigma_max

    @property
    def conditions(self) -> int:
        """Number of conditions, 0 without."""
        return 0 if self.given is None else self.given.count

    def guided(self, scale: float) -> "NetworkDenoiser":
        """The same network at another guidance scale."""
        return replace(self, guidance_scale=scale)

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: Tensor, index: Tensor | None = None) -> Tensor:
        """Estimate clean samples.

        Args:
            x: noisy samples, shape (batch, *shape), float32.
            sigma: their noise levels, shape (batch,).
            index: their conditions, shape (batch,); None: all have the first.

        Returns:
            Estimates of x_0, shape (batch, *shape), float32.

        Raises:
            torch.OutOfMemoryError: the batch does not fit into memory.
        """

        def column(values: Array) -> Tensor:
            return torch.from_numpy(values).to(x).view(-1, *[1] * len(self.shape))

        c = coefficients(self.training.prediction, self.training.process, sigma.double().cpu().numpy())
        index = torch.zeros(len(x), dtype=torch.int64) if index is None else index
        time = torch.from_numpy(c.c_noise).to(device=x.device, dtype=torch.float32)
        with _out_of_memory():
            output = self._output((column(c.c_in) * x).to(self.precision), time, index.to(x.device)).to(x)
        return column(c.c_skip) * x + column(c.c_out) * output

    def _output(self, x: Tensor, time: Tensor, index: Tensor) -> Tensor:
        """The network's prediction, guided: `F = F_u + w (F_c - F_u)`, both sides in one batch (Ho, Salimans 2022)."""
        given = {} if self.given is None else self.given.rows(index)
        scale = self.guidance_scale
        if self.given is None or scale is None or scale == 1 or self.adapter.guidance != "classifier_free":
            return self.adapter.predict(self.net, x, time, given, scale if self.adapter.guidance == "embedded" else None)
        against = self.given.unconditional_rows(index)
        both = {name: torch.cat([against[name], values]) for name, values in given.items()}
        output = self.adapter.predict(self.net, torch.cat([x, x]), torch.cat([time, time]), both, None).float()
        unconditional, conditional = output.chunk(2)
        return unconditional + self.adapter.weight(scale, output) * (conditional - unconditional)


@contextlib.contextmanager
def _out_of_memory() -> Iterator[None]:
    """Give the CPU's allocator, which knows no error of its own, that of a GPU's: smaller batches help against both."""
    try:
        yield
    except RuntimeError as error:
        if _CPU_ALLOCATOR not in str(error):
            raise
        raise torch.OutOfMemoryError(str(error)) from None
