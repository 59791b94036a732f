r"""Hand-made schedules for any range of levels: each is even in a coordinate of its own.

Libraries count the noise of a flow model by its time $t = \sigma / (1 + \sigma)$, of all others by $\sigma$: `counted` below. Rules that
are stated for a library's levels are applied to what it counts.
"""

import math
from typing import Literal, TypedDict

import numpy as np

from worker.ays.beta import beta_quantile
from worker.ays.noise import Array, Flow, NoiseProcess

Terminal = Literal["zero", "sigma_min"]


class Span(TypedDict):
    """The range of a schedule and where it ends."""

    sigma_max: float
    sigma_min: float
    terminal: Terminal


def close(levels: Array, terminal: Terminal) -> Array:
    """Append the step to noise level 0, where there is one."""
    return np.append(levels, 0.0) if terminal == "zero" else levels


def _shares(steps: int, terminal: Terminal) -> Array:
    """Even shares of the way down, from 0 at `sigma_max` to 1 at `sigma_min`."""
    return np.linspace(0, 1, steps if terminal == "zero" else steps + 1)


def _pinned(levels: Array, sigma_max: float, terminal: Terminal) -> Array:
    """Start at `sigma_max` to the last digit."""
    levels[0] = sigma_max
    return close(levels, terminal)


def counted(sigma: float, process: NoiseProcess) -> float:
    """What a library calls sigma: t for flow models."""
    return sigma / (1 + sigma) if isinstance(process, Flow) else sigma


def levels_of(count: Array, process: NoiseProcess) -> Array:
    """Noise levels of what a library calls sigma."""
    return count / (1 - count) if isinstance(process, Flow) else count


def edm(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, rho: float = 7.0) -> Array:
    """Levels linear in `sigma^(1/rho)` (Karras et al. 2022, Equation 5), shape (steps + 1,)."""
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _pinned((high + _shares(steps, terminal) * (low - high)) ** rho, sigma_max, terminal)


def log_snr(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal) -> Array:
    """Levels linear in ln sigma (Lu et al. 2022), elsewhere called exponential; shape (steps + 1,)."""
    high, low = math.log(sigma_max), math.log(sigma_min)
    return _pinned(np.exp(high + _shares(steps, terminal) * (low - high)), sigma_max, terminal)


def time_uniform(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> Array:
    """Levels linear in the model's native time; for DDPM tables this is the `linspace` spacing of diffusers; shape (steps + 1,)."""
    high, low = process.time(np.array([sigma_max, sigma_min]))
    return _pinned(process.sigma(high + _shares(steps, terminal) * (low - high)), sigma_max, terminal)


def karras(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: Flow) -> Array:
    """EDM's rule applied to t, as libraries apply it to flow models; shape (steps + 1,)."""
    span = Span(sigma_max=counted(sigma_max, process), sigma_min=counted(sigma_min, process), terminal=terminal)
    return _pinned_to_zero(levels_of(edm(steps, **span), process), sigma_max)


def exponential(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: Flow) -> Array:
    """Times linear in ln t, as libraries run `exponential` on flow models; shape (steps + 1,)."""
    span = Span(sigma_max=counted(sigma_max, process), sigma_min=counted(sigma_min, process), terminal=terminal)
    return _pinned_to_zero(levels_of(log_snr(steps, **span), process), sigma_max)


def _pinned_to_zero(levels: Array, sigma_max: float) -> Array:
    levels[0] = sigma_max
    return levels


def kl_optimal(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> Array:
    """What a library calls sigma, linear in its arctangent (Sabour et al. 2024, Theorem 3.1, variance 1); shape (steps + 1,)."""
    high, low = (math.atan(counted(sigma, process)) for sigma in (sigma_max, sigma_min))
    return _pinned(levels_of(np.tan(high + _shares(steps, terminal) * (low - high)), process), sigma_max, terminal)


def beta(
    steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess, shapes: tuple[float, float] = (0.6, 0.6)
) -> Array:
    """Indices in ComfyUI's table of levels at even quantiles of a beta distribution (Lee et al. 2024, https://arxiv.org/abs/2407.12173).

    ComfyUI's `beta`, and with shapes 0.5 and 0.7 RES4LYF's `beta57`. They round to whole indices, this does not. The lowest quantile is the
    terminal's, so that with terminal `zero` no evaluated level is as low as `sigma_min`.

    Args:
        steps: number of steps.
        sigma_max: highest level.
        sigma_min: lowest level.
        terminal: where the last step ends.
        process: the model's noise process, which decides what the table is even in.
        shapes: of the distribution.

    Returns:
        Shape (steps + 1,).
    """
    high, low = table_index(np.array([sigma_max, sigma_min]), process)
    quantiles = beta_quantile(1 - np.arange(steps if terminal == "zero" else steps + 1) / steps, *shapes)
    return _pinned(table_levels(low + (high - low) * quantiles, process), sigma_max, terminal)


def beta_sigmas(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> Array:
    """What a library calls sigma at even quantiles of Beta(0.6, 0.6), ends included: `use_beta_sigmas` of diffusers; shape (steps + 1,)."""
    high, low = counted(sigma_max, process), counted(sigma_min, process)
    quantiles = beta_quantile(1 - _shares(steps, terminal), 0.6, 0.6)
    return _pinned(levels_of(low + (high - low) * quantiles, process), sigma_max, terminal)


def bong_tangent(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> Array:
    """Two arctangents, one for each half of what a library calls sigma, as in RES4LYF; shape (steps + 1,), for two steps or more.

    With n = steps + 2 the halves meet at index 0.6 n, where both are steepest, and their slope is 8 / n.
    """
    high, low = counted(sigma_max, process), 0.0 if terminal == "zero" else counted(sigma_min, process)
    n = steps + 2
    meeting = int(0.6 * n)
    upper, lower = _arctangent(np.arange(-meeting, 0.0), 8 / n), _arctangent(np.arange(float(n - meeting)), 8 / n)
    count = low + (high - low) * np.append(0.5 + 0.5 * upper[:-1], 0.5 * lower)
    return _pinned(levels_of(count, process), sigma_max, "sigma_min")


def _arctangent(places: Array, slope: float) -> Array:
    """A falling arctangent, scaled to run from 1 to 0."""
    value = -np.arctan(slope * places)
    return (value - value[-1]) / (value[0] - value[-1])


def table_index(sigma: Array, process: NoiseProcess) -> Array:
    """What ComfyUI's table of levels is even in: timesteps, a flow's time before its shift, else ln sigma; any shape."""
    if isinstance(process, Flow):
        return sigma / (process.shift + sigma)
    return process.time(sigma) if process.kind == "vp" else np.log(sigma)


def table_levels(index: Array, process: NoiseProcess) -> Array:
    """Inverse of `table_index`."""
    if isinstance(process, Flow):
        return process.shift * index / (1 - index)
    return process.sigma(index) if process.kind == "vp" else np.exp(index)
