r"""Denoisers: $D(x, \sigma)$, the estimate of $x_0$ from $x = x_0 + \sigma \epsilon$; the only thing we ever ask of a model."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from worker.ays.batches import Batches, Memory, memory_of


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
        """Estimate the clean sample (theory 2).

        Args:
            x: noisy samples, shape (batch, *shape).
            sigma: their noise levels, shape (batch,), in [sigma_min, sigma_max].

        Returns:
            Estimates of x_0, shape (batch, *shape).
        """


class ConditionalDenoiser(Denoiser, Protocol):
    """A denoiser that was given a list of conditions, such as encoded prompts: each sample belongs to one of them."""

    @property
    def conditions(self) -> int:
        """Number of conditions, at least 1."""

    def denoise(self, x: Tensor, sigma: Tensor, index: Tensor | None = None) -> Tensor:
        """Estimate the clean sample, given a condition.

        Args:
            x: noisy samples, shape (batch, *shape).
            sigma: their noise levels, shape (batch,).
            index: their conditions, shape (batch,), int64 on the CPU, each in [0, conditions); None: all have the first.

        Returns:
            Estimates of x_0, shape (batch, *shape).
        """


class DenoiserError(ValueError):
    """A denoiser returned something that no schedule can be computed from."""


class Evaluator:
    """Evaluates a denoiser in batches: float64 outside, its own precision inside; counts evaluations, refuses what is not finite.

    One evaluation is one sample at one noise level. The batch size follows the memory there is, and never changes the answer beyond
    rounding.
    """

    def __init__(
        self,
        denoiser: Denoiser | ConditionalDenoiser,
        *,
        batch: int,
        on_batch: Callable[[int], None] | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Wrap a denoiser.

        Args:
            denoiser: the model.
            batch: largest number of samples in one call, at least 1.
            on_batch: called after each batch with the number of evaluations so far; it may raise to stop.
            memory: where the size of a batch is found; None: that of the denoiser's device.
        """
        self._denoiser = denoiser
        self._conditions: int = getattr(denoiser, "conditions", 0)
        self._batches = Batches(most=batch, shape=denoiser.shape, memory=memory or memory_of(denoiser.device))
        self._on_batch = on_batch
        self.evaluations = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._denoiser.shape

    @property
    def sigma_max(self) -> float:
        """Highest noise level it is meant for."""
        return self._denoiser.sigma_max

    @property
    def device(self) -> str:
        """Kind of device it is evaluated on, `cpu` or `cuda`."""
        return self._denoiser.device.type

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean samples, under the first condition where there are any.

        Args:
            x: noisy samples, shape (n, *shape), float64.
            sigma: noise levels, shape (n,), float64.

        Returns:
            Shape (n, *shape), float64, on the device of `x`.

        Raises:
            DenoiserError: the result has another shape or is not finite.
            torch.OutOfMemoryError: a single sample does not fit into memory.
        """
        return self._estimate(x, sigma, torch.zeros(len(x), dtype=torch.int64))

    def along(self, paths: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
        """The model along some paths: path i has condition `i mod conditions`, whatever batch or shard it falls into.

        Args:
            paths: indices of n paths; row r of a call, whose rows are a multiple of n, belongs to path `paths[r mod n]`.
        """
        if not self._conditions:
            return self
        of_paths = torch.tensor(paths, dtype=torch.int64) % self._conditions
        return lambda x, sigma: self._estimate(x, sigma, of_paths.repeat(len(x) // len(of_paths)))

    def _estimate(self, x: Tensor, sigma: Tensor, index: Tensor) -> Tensor:
        estimates = torch.empty_like(x)

        def work(start: int, stop: int) -> None:
            estimates[start:stop] = self._one(x[start:stop], sigma[start:stop], index[start:stop])

        self._batches.run(work, len(x))
        return estimates

    @torch.inference_mode()
    def _one(self, x: Tensor, sigma: Tensor, index: Tensor) -> Tensor:
        dtype, device = self._denoiser.dtype, self._denoiser.device
        condition = (index,) if self._conditions else ()
        estimate = self._denoiser.denoise(x.to(device=device, dtype=dtype), sigma.to(device=device, dtype=dtype), *condition).to(x)
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


def along(denoise: Callable[[Tensor, Tensor], Tensor], paths: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """A model along some paths, as `Evaluator.along`; any other function has no conditions and is returned as it is."""
    return denoise.along(paths) if isinstance(denoise, Evaluator) else denoise
