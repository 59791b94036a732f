"""Denoisers that autograd can follow, in x and in sigma."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import Denoiser
from worker.ays.noise import Array
from worker.ays.solvers import Denoise
from worker.models.network_denoiser import NetworkDenoiser
from worker.models.preconditioning import coefficients

_STEP = 1e-4
"""Of the central differences in ln sigma: far below the spacing of a table of 1,000 times, whose map to sigma is piecewise linear."""


def differentiable(denoiser: Denoiser) -> Denoise:
    """D with gradients: the formula itself of exact denoisers, the network with its preconditioning opened up of a pipeline's.

    Args:
        denoiser: a `NetworkDenoiser` without conditions, or one whose `denoise` is made of torch's operations alone.

    Raises:
        ValueError: the network is conditional.
    """
    if not isinstance(denoiser, NetworkDenoiser):
        return lambda x, sigma: denoiser.denoise(x.to(denoiser.dtype), sigma.to(denoiser.dtype)).to(x)
    if denoiser.given is not None:
        msg = f"received a network of {denoiser.conditions} conditions; expected an unconditional one"
        raise ValueError(msg)
    return lambda x, sigma: _network(denoiser, x, sigma)


def _network(denoiser: NetworkDenoiser, x: Tensor, sigma: Tensor) -> Tensor:
    training = denoiser.training

    def coefficient(name: str) -> Tensor:
        return along(sigma, lambda levels: getattr(coefficients(training.prediction, training.process, levels), name))

    c_in, c_skip, c_out = (coefficient(name).view(-1, *[1] * (x.ndim - 1)) for name in ("c_in", "c_skip", "c_out"))
    time = coefficient("c_noise").float()
    output = denoiser.adapter.predict(denoiser.net, (c_in * x).to(denoiser.precision), time, {}, None)
    return c_skip * x + c_out * output.to(x)


def along(sigma: Tensor, function: Callable[[Array], Array]) -> Tensor:
    """A function of noise levels that numpy computes, with its derivative by central differences.

    Args:
        sigma: shape (n,).
        function: from levels to values, elementwise.

    Returns:
        Shape (n,), with a gradient in `sigma`.
    """
    levels = sigma.detach().double().cpu().numpy()
    slope = (function(levels * np.exp(_STEP)) - function(levels * np.exp(-_STEP))) / (2 * levels * np.sinh(_STEP))
    value, rise = (torch.from_numpy(np.asarray(part)).to(sigma) for part in (function(levels), slope))
    return value + rise * (sigma - sigma.detach())
