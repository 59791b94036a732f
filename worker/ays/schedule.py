r"""Schedules: the hand-made ones that people use today, and resampling.

A schedule is an array of noise levels, strictly decreasing: N evaluated levels and a terminal one, `sigma_min` or 0. With terminal 0
the stock schedules put their last evaluated level at `sigma_min`, as diffusers, k-diffusion and ComfyUI do.
"""

import math
from typing import Literal

import numpy as np

from worker.ays.noise import VP, Array, Flow, NoiseProcess

Terminal = Literal["zero", "sigma_min"]


def _close(levels: Array, terminal: Terminal) -> Array:
    return np.append(levels, 0.0) if terminal == "zero" else levels


def _count(steps: int, terminal: Terminal) -> int:
    return steps if terminal == "zero" else steps + 1


def edm(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, rho: float = 7.0) -> Array:
    """Levels linear in `sigma^(1/rho)` (Karras et al. 2022, Equation 5), shape (steps + 1,)."""
    ramp = np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), _count(steps, terminal)) ** rho
    ramp[0] = sigma_max
    return _close(ramp, terminal)


def log_snr(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal) -> Array:
    """Levels linear in ln sigma (Lu et al. 2022), shape (steps + 1,)."""
    ramp = np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), _count(steps, terminal)))
    ramp[0] = sigma_max
    return _close(ramp, terminal)


def time_uniform(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> Array:
    """Levels linear in the model's native time; for DDPM tables this is the `linspace` spacing of diffusers; shape (steps + 1,)."""
    high, low = process.time(np.array([sigma_max, sigma_min]))
    ramp = process.sigma(np.linspace(high, low, _count(steps, terminal)))
    ramp[0] = sigma_max
    return _close(ramp, terminal)


def shifted(steps: int, *, process: Flow) -> Array:
    """Flow times `1, 1 - 1/N, ..., 1/N`, sigma times the process's shift, then 0: as Flux is sampled; shape (steps + 1,).

    The first level is that of t = 1, cut to sigma_max.
    """
    t = np.linspace(1, 1 / steps, steps)
    sigma = np.append(process.sigma_max, process.shift * t[1:] / (1 - t[1:]))
    return np.append(np.clip(sigma, process.sigma_min, process.sigma_max), 0.0)


def leading(steps: int, *, process: VP) -> Array:
    """DDPM timesteps `0, k, 2k, ...` with `k = T // steps` (diffusers' `leading`), then 0; starts below sigma_max; shape (steps + 1,)."""
    times = np.arange(steps)[::-1] * (process.train_timesteps // steps)
    return np.append(process.sigma(times), 0.0)


def trailing(steps: int, *, process: VP) -> Array:
    """DDPM timesteps `T - 1, T - 1 - k, ...` with `k = T / steps` (diffusers' `trailing`), then 0; shape (steps + 1,)."""
    times = np.round(np.arange(process.train_timesteps, 0, -process.train_timesteps / steps))[:steps] - 1
    return np.append(process.sigma(times), 0.0)


def stock_schedules(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> dict[str, Array]:
    """Every stock schedule that fits a process and a range.

    Args:
        steps: number of steps, >= 2 (>= 1 for terminal `sigma_min`).
        sigma_max: highest level.
        sigma_min: lowest level that is evaluated.
        terminal: where the last step ends.
        process: the model's noise process.

    Returns:
        Levels by name, each of shape (steps + 1,), strictly decreasing. The discrete DDPM spacings and the shifted flow are there for
        terminal `zero` on the process's whole range only, since they know no other.
    """
    span = {"sigma_max": sigma_max, "sigma_min": sigma_min}
    found = {
        "edm": edm(steps, **span, terminal=terminal),
        "log_snr": log_snr(steps, **span, terminal=terminal),
        "time_uniform": time_uniform(steps, **span, terminal=terminal, process=process),
    }
    whole = math.isclose(sigma_max, process.sigma_max, rel_tol=1e-6) and math.isclose(sigma_min, process.sigma_min, rel_tol=1e-6)
    if isinstance(process, VP) and terminal == "zero" and whole:
        found |= {"leading": leading(steps, process=process), "trailing": trailing(steps, process=process)}
    if isinstance(process, Flow) and terminal == "zero" and whole:
        found |= {"shifted": shifted(steps, process=process)}
    return {name: levels for name, levels in found.items() if np.all(np.diff(levels) < 0)}


def resample(levels: Array, steps: int) -> Array:
    """Interpolate a schedule to another number of steps, linearly in ln sigma over its index (paper, Appendix B.1).

    Args:
        levels: strictly decreasing; a last level of 0 is kept and the levels above it are resampled; shape (N + 1,).
        steps: wanted number of steps.

    Returns:
        Shape (steps + 1,).
    """
    to_zero = levels[-1] == 0
    positive = levels[:-1] if to_zero else levels
    count = steps if to_zero else steps + 1
    ramp = np.exp(np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(positive)), np.log(positive)))
    ramp[-1], ramp[0] = positive[-1], positive[0]  # in this order: a single level is the highest
    return _close(ramp, "zero" if to_zero else "sigma_min")
