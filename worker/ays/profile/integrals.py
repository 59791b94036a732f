"""What is read off a profile's moments for all costs: cumulative integrals over ln sigma, and how much D passes on of a displacement."""

import math

import numpy as np

from worker.ays.noise import Array

_SERIES, _INTERVALS = 8, 24


def _cell_weights(levels: Array, kernel: Array) -> tuple[Array, Array]:
    """Weights of the upper and lower ends of each cell in `integral kernel(u) f(u) d ln u`, f linear in ln u, each of shape (G - 1,).

    The kernel is given at the levels and taken as a power of u within each cell.
    """
    width = np.log(levels[:-1] / levels[1:])
    a = np.log(kernel[:-1] / kernel[1:])
    small = np.abs(a) < 0.05
    safe = np.where(small, 1.0, a)
    total_series = sum(a**n / math.factorial(n + 1) for n in range(_SERIES))  # integral of e^(a s) over s in [0, 1]
    upper_series = sum(a**n / (math.factorial(n) * (n + 2)) for n in range(_SERIES))  # integral of s e^(a s)
    total = np.where(small, total_series, np.expm1(safe) / safe)
    upper = np.where(small, upper_series, (np.exp(safe) * (safe - 1) + 1) / safe**2)
    scale = kernel[1:] * width
    return scale * upper, scale * (total - upper)


def cumulative(levels: Array, kernel: Array) -> Array:
    """Matrix C with `(C f)[g] = integral from levels[g] to levels[0] of kernel(u) f(u) d ln u`, shape (G, G)."""
    upper, lower = _cell_weights(levels, kernel)
    cells = np.zeros((len(levels), len(levels)))
    index = np.arange(len(levels) - 1)
    cells[index + 1, index] = upper
    cells[index + 1, index + 1] = lower
    return cells.cumsum(axis=0)


def contraction(levels: Array, moments: Array) -> Array:
    """How much of a displacement of x the denoiser passes on, at every level, in [0, 1]; shape (G,).

    With lambda = -ln sigma and D' = dD / d lambda along the ODE, a Gaussian coordinate has `D'' = (1 - 3 kappa) D'`
    (theory 18), so kappa follows from the logarithmic derivative of `E ||D'||^2` (theory 21), here by differences over some 24 intervals.
    """
    index = np.unique(np.linspace(0, len(levels) - 1, min(len(levels), _INTERVALS + 1)).astype(int))
    knots = -np.log(levels[index])
    own = moments[index, index]
    change = np.maximum(own[:-1] - 2 * moments[index[:-1], index[1:]] + own[1:], 1e-300) / np.diff(knots) ** 2
    middle = (knots[:-1] + knots[1:]) / 2
    growth = np.gradient(np.log(change), middle) if len(middle) > 1 else np.ones_like(middle)
    return np.clip((1 - np.interp(-np.log(levels), middle, growth) / 2) / 3, 0, 1)
