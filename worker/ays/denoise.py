r"""Denoisers: $D(x, \sigma)$, the estimate of $x_0$ from $x = x_0 + \sigma \epsilon$; the only thing we ever ask of a model."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Denoiser(Protocol):
    """A model, seen through its denoiser in VE coordinates."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    @property
    def sigma_min(self) -> float:
        """Lowest noise level it is meant for, > 0."""

    @property
    def sigma_max(self) -> float:
        """Highest noise level it is meant for, finite."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which it is evaluated: the type of `x` and of the result."""

    @property
    def device(self) -> torch.device:
        """Where it is evaluated: the device of `x`, `sigma` and of the result."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean sample.

        Args:
            x: noisy samples, shape (batch, *shape).
            sigma: their noise levels, shape (batch,), in [sigma_min, sigma_max].

        Returns:
            Estimates of x_0, shape (batch, *shape).
        """


class DenoiserError(ValueError):
    """A denoiser returned something that no schedule can be computed from."""


class Evaluator:
    """Evaluates a denoiser in batches: float64 outside, its own precision inside; counts evaluations, refuses what is not finite.

    One evaluation is one sample at one noise level. The batch size bounds memory and never changes the answer beyond rounding.
    """

    def __init__(self, denoiser: Denoiser, *, batch: int, on_batch: Callable[[int], None] | None = None) -> None:
        """Wrap a denoiser.

        Args:
            denoiser: the model.
            batch: largest number of samples in one call, at least 1.
            on_batch: called after each batch with the number of evaluations so far; it may raise to stop.
        """
        self._denoiser = denoiser
        self._batch = batch
        self._on_batch = on_batch
        self.evaluations = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._denoiser.shape

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean samples.

        Args:
            x: noisy samples, shape (n, *shape), float64.
            sigma: noise levels, shape (n,), float64.

        Returns:
            Shape (n, *shape), float64, on the device of `x`.

        Raises:
            DenoiserError: the result has another shape or is not finite.
        """
        return torch.cat([self._one(*part) for part in zip(x.split(self._batch), sigma.split(self._batch), strict=True)])

    @torch.inference_mode()
    def _one(self, x: Tensor, sigma: Tensor) -> Tensor:
        dtype, device = self._denoiser.dtype, self._denoiser.device
        estimate = self._denoiser.denoise(x.to(device=device, dtype=dtype), sigma.to(device=device, dtype=dtype)).to(x)
        if estimate.shape != x.shape:
            msg = f"the denoiser returned shape {tuple(estimate.shape)}; expected {tuple(x.shape)}, the shape of x"
            raise DenoiserError(msg)
        if not bool(torch.isfinite(estimate).all()):
            levels = f"[{sigma.min().item():.6g}, {sigma.max().item():.6g}]"
            msg = f"the denoiser returned NaN or infinity at sigma in {levels}; check its precision, or narrow sigma_min..sigma_max"
            raise DenoiserError(msg)
        self.evaluations += len(x)
        if self._on_batch is not None:
            self._on_batch(self.evaluations)
        return estimate
