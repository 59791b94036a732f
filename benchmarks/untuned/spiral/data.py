"""Two spiral arms in the plane: thin and dense at the centre, blurred outside."""

import math

import torch
from torch import Tensor

TURNS = 1.5
"""Turns of an arm."""

_RADIUS, _INNER, _OUTER = 1.2, 0.01, 0.06


def spiral(n: int, generator: torch.Generator) -> Tensor:
    """Draw points, shape (n, 2), float32.

    Uniform `u` gives the radius `1.2 u` on either arm, the angle `2 pi TURNS sqrt(u)`, and isotropic noise of standard deviation
    `0.01 + 0.05 u`.
    """
    u, side = torch.rand(2, n, generator=generator)
    angle = 2 * math.pi * TURNS * u.sqrt() + math.pi * side.round()
    centre = _RADIUS * u.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)
    width = _INNER + (_OUTER - _INNER) * u
    return centre + width.unsqueeze(1) * torch.randn(n, 2, generator=generator)
