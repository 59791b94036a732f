"""Textbook versions of what the worker computes fast: loops over paths, intervals and grid points, and samplers as printed."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array
from worker.ays.paths import Brownian

Model = Callable[[Tensor, float], Tensor]
"""`(x (n, *shape), sigma) -> D`: every sample at the same noise level."""

Noise = Callable[[float, float], Tensor]
"""`(sigma, sigma') -> standard normal noise of that step`."""


def one_level(denoiser: object) -> Model:
    """Our denoisers want one sigma for each sample."""
    return lambda x, sigma: denoiser.denoise(x, torch.full((len(x),), sigma, dtype=x.dtype))


def unit_noise(path: Brownian) -> Noise:
    """The normalized increments of Brownian paths in their clock, looked up on the grid of the paths."""

    def noise(sigma: float, sigma_next: float) -> Tensor:
        first, last = (int(np.abs(path.u / path.clock(np.array(level)) - 1).argmin()) for level in (sigma, sigma_next))
        return (path.w[last] - path.w[first]) / math.sqrt(path.u[last] - path.u[first])

    return noise


def euler(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Karras et al. 2022, Algorithm 1 without its correction: `x' = x + (sigma' - sigma) (x - D) / sigma`."""
    for sigma, sigma_next in itertools.pairwise(sigmas):
        x = x + (sigma_next - sigma) * (x - model(x, sigma)) / sigma
    return x


def ddim(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Song et al. 2021, Equation 12 with eta = 0, in variance-preserving coordinates with `alpha_bar = 1 / (1 + sigma^2)`."""
    for sigma, sigma_next in itertools.pairwise(sigmas):
        alpha, alpha_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
        z = math.sqrt(alpha) * x
        epsilon = (z - math.sqrt(alpha) * model(x, sigma)) / math.sqrt(1 - alpha)
        predicted = (z - math.sqrt(1 - alpha) * epsilon) / math.sqrt(alpha)
        x = (math.sqrt(alpha_next) * predicted + math.sqrt(1 - alpha_next) * epsilon) / math.sqrt(alpha_next)
    return x


def heun(model: Model, x: Tensor, sigmas: Sequence[float], *, last_corrected: bool = False) -> Tensor:
    """Karras et al. 2022, Algorithm 1: no correction at noise level 0; ours makes none on the last step at all."""
    for step, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        slope = (x - model(x, sigma)) / sigma
        euler_step = x + (sigma_next - sigma) * slope
        if sigma_next == 0 or (step == len(sigmas) - 2 and not last_corrected):
            x = euler_step
        else:
            slope_next = (euler_step - model(euler_step, sigma_next)) / sigma_next
            x = x + (sigma_next - sigma) * (slope + slope_next) / 2
    return x


def dpmpp_2m(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Lu et al. 2022, Algorithm 2, with `lambda = -ln sigma`; the step to 0 at first order."""
    previous, before = None, math.nan
    for sigma, sigma_next in itertools.pairwise(sigmas):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        h = math.log(sigma) - math.log(sigma_next)
        used = estimate
        if previous is not None:
            r = before / h
            used = (1 + 1 / (2 * r)) * estimate - 1 / (2 * r) * previous
        x = sigma_next / sigma * x - math.expm1(-h) * used
        previous, before = estimate, h
    return x


def euler_ancestral(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    """k-diffusion's ancestral Euler with eta = 1: a step to `sigma_down`, then noise of deviation `sigma_up`."""
    for sigma, sigma_next in itertools.pairwise(sigmas):
        up = math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2)
        down = math.sqrt(sigma_next**2 - up**2)
        x = x + (x - model(x, sigma)) / sigma * (down - sigma)
        if sigma_next > 0:
            x = x + up * noise(sigma, sigma_next)
    return x


def ddpm(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    """Ho et al. 2020, Equation 7, in variance-preserving coordinates: mean and variance of `q(z' | z, x_0 = D)`; 0 returns D."""
    for sigma, sigma_next in itertools.pairwise(sigmas):
        alpha_bar, alpha_bar_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
        alpha = alpha_bar / alpha_bar_next
        z = math.sqrt(alpha_bar) * x
        clean = math.sqrt(alpha_bar_next) * (1 - alpha) / (1 - alpha_bar) * model(x, sigma)
        mean = clean + math.sqrt(alpha) * (1 - alpha_bar_next) / (1 - alpha_bar) * z
        variance = (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha)
        x = (mean + (math.sqrt(variance) * noise(sigma, sigma_next) if sigma_next > 0 else 0)) / math.sqrt(alpha_bar_next)
    return x


def dpmpp_2m_sde(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Tensor:
    """SDE-DPM-Solver++(2M), k-diffusion's `midpoint` with eta = 1."""
    previous, before = None, math.nan
    for sigma, sigma_next in itertools.pairwise(sigmas):
        estimate = model(x, sigma)
        if sigma_next == 0:
            return estimate
        h = math.log(sigma) - math.log(sigma_next)
        gain = -math.expm1(-2 * h)
        x = sigma_next / sigma * math.exp(-h) * x + gain * estimate
        if previous is not None:
            x = x + 0.5 * gain * (h / before) * (estimate - previous)
        x = x + sigma_next * math.sqrt(gain) * noise(sigma, sigma_next)
        previous, before = estimate, h
    return x


def _integral_on_cell(high: float, low: float, f_high: float, f_low: float, power: float) -> float:
    """`integral of u^(power - 1) f(u) du`, f linear in ln u between its values at the ends, by brute quadrature."""
    x, w = np.polynomial.legendre.leggauss(24)
    log = (math.log(high) + math.log(low)) / 2 + (math.log(high) - math.log(low)) / 2 * x
    f = f_low + (f_high - f_low) * (log - math.log(low)) / (math.log(high) - math.log(low))
    return float((w * np.exp(power * log) * f).sum() * (math.log(high) - math.log(low)) / 2)


Estimate = Callable[[Array, Sequence[float], float], Array]
"""`(evaluations newest first (m, dim), their levels, the level where the step ends) -> Dhat`."""


def first_order(found: Array, _levels: Sequence[float], _end: float) -> Array:
    """The newest evaluation."""
    return found[0]


def second_order(found: Array, levels: Sequence[float], end: float) -> Array:
    """2M: the newest evaluation and the one before, if there is one."""
    if len(found) == 1:
        return found[0]
    r = math.log(levels[0] / end) / (2 * math.log(levels[1] / levels[0]))
    return (1 + r) * found[0] - r * found[1]


def girsanov(estimates: Array, levels: Array, knots: Sequence[int], *, exponent: float, estimate: Estimate) -> float:
    """Bound (K) of a schedule over stored paths, term by term.

    Args:
        estimates: D along each path, shape (paths, G, dim).
        levels: the grid, shape (G,).
        knots: indices of the schedule, strictly increasing.
        exponent: exponent p.
        estimate: what the solver makes of its evaluations.
    """
    total = 0.0
    for path in estimates:
        for n in range(len(knots) - 1):
            i, j = knots[n], knots[n + 1]
            past = list(knots[n::-1])
            used = estimate(path[past], levels[past], levels[j])
            for g in range(i, j):
                ends = [float(np.sum((path[m] - used) ** 2)) for m in (g, g + 1)]
                total += _integral_on_cell(levels[g], levels[g + 1], *ends, exponent - 2)
    return total / len(estimates)
