r"""Hand-made schedules that know no range but a model's whole one, and end at noise level 0.

They take even steps through the table of levels that a model was trained on. Flow models have a table of `FLOW_LEVELS` times
$u = k / 1000$, shifted to $\sigma = shift \cdot u / (1 - u)$; the level of u = 1, which is infinite, is cut to `sigma_max`.
"""

import math

import numpy as np

from worker.ays.noise import VP, Array, Flow, NoiseProcess
from worker.ays.ramps import counted, levels_of, table_index, table_levels

FLOW_LEVELS = 1000
"""Levels of the table of a flow model, and of a continuous one, in ComfyUI and diffusers."""

_LINEAR_NOISE = 0.025
"""Noise that `linear_quadratic` takes away in its linear half (Genmo 2024, Mochi 1)."""
_PIXELS = 4096
"""Tokens of a picture of a million pixels, for the rules that depend on it."""
_LTX2_SHIFT, _LTX2_LAST = 2.05, 0.1
"""LTX-2's exponent of the shift at that many tokens, and the time that its last evaluation is stretched to."""


def _cut(sigma: Array, process: NoiseProcess) -> Array:
    return np.append(np.clip(sigma, process.sigma_min, process.sigma_max), 0.0)


def _of_shifted_times(u: Array, shift: float, process: Flow) -> Array:
    """Levels of times before their shift, the first of which is 1."""
    return _cut(np.append(process.sigma_max, shift * u[1:] / (1 - u[1:])), process)


def leading(steps: int, *, process: VP, offset: int = 0) -> Array:
    """DDPM timesteps `0, k, 2k, ...` with `k = T // steps` (diffusers' `leading`), then 0; starts below sigma_max; shape (steps + 1,).

    With an offset of 1 these are the steps of Stable Diffusion's own configuration and, where steps divide T, ComfyUI's `ddim_uniform`.
    """
    times = np.arange(steps)[::-1] * (process.train_timesteps // steps) + offset
    return np.append(process.sigma(times), 0.0)


def trailing(steps: int, *, process: VP) -> Array:
    """DDPM timesteps `T - 1, T - 1 - k, ...` with `k = T / steps` (diffusers' `trailing`), then 0; shape (steps + 1,)."""
    times = np.round(np.arange(process.train_timesteps, 0, -process.train_timesteps / steps))[:steps] - 1
    return np.append(process.sigma(times), 0.0)


def shifted(steps: int, *, process: Flow) -> Array:
    """Flow times `1, 1 - 1/N, ..., 1/N`, sigma times the process's shift, then 0: as Flux is sampled; shape (steps + 1,)."""
    return _of_shifted_times(np.linspace(1, 1 / steps, steps), process.shift, process)


def normal(steps: int, *, process: Flow) -> Array:
    """Flow times from 1 to the table's last, which was shifted already, shifted again: diffusers' default; shape (steps + 1,)."""
    return _of_shifted_times(np.linspace(1, _lowest(process), steps), process.shift, process)


def sgm_uniform(steps: int, *, process: NoiseProcess) -> Array:
    """ComfyUI's `sgm_uniform`: the first N of N + 1 even steps through the table, then 0; shape (steps + 1,)."""
    if isinstance(process, Flow):
        return _of_shifted_times(np.linspace(1, _lowest(process), steps + 1)[:-1], process.shift, process)
    high, low = table_index(np.array([process.sigma_max, process.sigma_min]), process)
    return _cut(table_levels(np.linspace(high, low, steps + 1)[:-1], process), process)


def simple(steps: int, *, process: NoiseProcess) -> Array:
    """ComfyUI's `simple`: every (T / N)-th level of the table from its top, rounded up, then 0; shape (steps + 1,)."""
    total = process.train_timesteps if isinstance(process, VP) else FLOW_LEVELS
    down = np.floor(np.arange(steps) * (total / steps))
    if isinstance(process, Flow):
        return _of_shifted_times(1 - down / total, process.shift, process)
    high, low = table_index(np.array([process.sigma_max, process.sigma_min]), process)
    return _cut(table_levels(high - (high - low) * down / (total - 1), process), process)


def _lowest(process: Flow) -> float:
    """Shifted time of the table's first entry."""
    return process.shift / (FLOW_LEVELS - 1 + process.shift)


def linear_quadratic(steps: int, *, process: NoiseProcess) -> Array:
    """Mochi's: what a library calls sigma falls by 0.025 of its top in half of the steps, then quadratically to 0; shape (steps + 1,).

    For two steps or more.
    """
    linear = steps // 2
    index, rest = np.arange(steps), steps - linear
    bend = (linear - _LINEAR_NOISE * steps) / (linear * rest**2)
    late = np.maximum(index - linear, 0)
    top = counted(process.sigma_max, process)
    fallen = _LINEAR_NOISE / linear * index + bend * late**2
    return _cut(levels_of(top * (1 - fallen), process), process)


def flux2(steps: int, *, process: Flow, tokens: int = _PIXELS) -> Array:
    """FLUX.2's: as `shifted`, by an exponent linear in the number of steps and of tokens; shape (steps + 1,).

    Fitted by Black Forest Labs at 10 and 200 steps (flux2 of 2025, `compute_empirical_mu`).
    """
    at_200, at_10 = 0.00016927 * tokens + 0.45666666, 8.73809524e-05 * tokens + 1.89833333
    exponent = at_200 if tokens > 4300 else at_10 + (at_200 - at_10) * (steps - 10) / 190
    return _of_shifted_times(np.linspace(1, 1 / steps, steps), math.exp(exponent), process)


def ltx2(steps: int, *, process: Flow) -> Array:
    """LTX-2's: shifted by `e^2.05`, then t stretched to end at 0.1, then 0; shape (steps + 1,), for two steps or more."""
    u = np.linspace(1, 1 / steps, steps)[1:]
    clean = (1 - u) / (1 - u + u * math.exp(_LTX2_SHIFT))
    t = 1 - clean * (1 - _LTX2_LAST) / clean[-1]
    return _cut(np.append(process.sigma_max, t / (1 - t)), process)
