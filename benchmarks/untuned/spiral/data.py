"""Two spiral arms in the plane: thin and dense at the centre, blurred outside."""

import math
from functools import cache

import torch
from torch import Tensor

from worker.ays.analytic import GaussianMixture

TURNS = 1.5
"""Turns of an arm."""

_RADIUS, _INNER, _OUTER = 1.2, 0.01, 0.06
_POINTS = 512


def spiral(n: int, generator: torch.Generator) -> Tensor:
    """Draw points, shape (n, 2), float32.

    Uniform `u` gives the radius `1.2 u` on either arm, the angle `2 pi TURNS sqrt(u)`, and isotropic noise of standard deviation
    `0.01 + 0.05 u`.
    """
    u, side = torch.rand(2, n, generator=generator)
    return _centre(u, side.round()) + _width(u).unsqueeze(1) * torch.randn(n, 2, generator=generator)


@cache
def law() -> GaussianMixture:
    """The law of the points, the integral over `u` by the midpoint rule: densities, and the exact denoiser."""
    u = ((torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS).repeat(2)
    return GaussianMixture(_centre(u, torch.arange(2).repeat_interleave(_POINTS)), _width(u))


def _centre(u: Tensor, side: Tensor) -> Tensor:
    angle = 2 * math.pi * TURNS * u.sqrt() + math.pi * side
    return _RADIUS * u.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)


def _width(u: Tensor) -> Tensor:
    return _INNER + (_OUTER - _INNER) * u
