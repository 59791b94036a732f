r"""Schedules: the stock ones that people use today, and resampling.

A schedule is an array of noise levels, strictly decreasing: N evaluated levels and a terminal one, `sigma_min` or 0. With terminal 0
most stock schedules put their last evaluated level at `sigma_min`, as diffusers, k-diffusion and ComfyUI do.
"""

import math
from functools import partial

import numpy as np

from worker.ays.noise import VP, Array, Flow, NoiseProcess
from worker.ays.published import published
from worker.ays.ramps import (
    Span,
    Terminal,
    beta,
    beta_sigmas,
    bong_tangent,
    close,
    edm,
    exponential,
    karras,
    kl_optimal,
    log_snr,
    time_uniform,
)
from worker.ays.spacings import flux2, leading, linear_quadratic, ltx2, normal, sgm_uniform, shifted, simple, trailing

__all__ = ["Terminal", "edm", "log_snr", "moved_ends", "resample", "stock_schedules", "time_uniform"]

_SAME = 0.01
"""Relative difference of every level up to which two stock schedules are one: libraries round to whole timesteps."""

_TOPS = (5.0, 10.0, 20.0, 40.0)
_BOTTOMS = (0.01, 0.02, 0.05)
"""Ends that people move a range to: on wide ranges much of what a schedule gains is the range."""


def stock_schedules(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal, process: NoiseProcess) -> dict[str, Array]:
    """Every stock schedule that fits a process and a range.

    Args:
        steps: number of steps, >= 2 (>= 1 for terminal `sigma_min`).
        sigma_max: highest level.
        sigma_min: lowest level that is evaluated.
        terminal: where the last step ends.
        process: the model's noise process.

    Returns:
        Levels by name, each of shape (steps + 1,), strictly decreasing, `edm` and `log_snr` first; of those that coincide the first one
        alone. Spacings of a table of levels are there for terminal `zero` on the process's whole range only, since they know no other,
        and published tables on the whole range.
    """
    span = Span(sigma_max=sigma_max, sigma_min=sigma_min, terminal=terminal)
    found = {"edm": edm(steps, **span), "log_snr": log_snr(steps, **span)} | _ramps(steps, span, process)
    if math.isclose(sigma_max, process.sigma_max, rel_tol=1e-6) and math.isclose(sigma_min, process.sigma_min, rel_tol=1e-6):
        if terminal == "zero":
            found |= _spacings(steps, process)
        found |= {name: _printed(levels, steps, terminal) for name, levels in published(process).items()}
    return _distinct(found)


def _ramps(steps: int, span: Span, process: NoiseProcess) -> dict[str, Array]:
    """Those for any range of a process."""
    rules = {"time_uniform": time_uniform, "kl_optimal": kl_optimal, "beta_sigmas": beta_sigmas, "beta": beta}
    rules["beta57"] = partial(beta, shapes=(0.5, 0.7))
    if steps > 1:
        rules["bong_tangent"] = bong_tangent
    found = {name: rule(steps, **span, process=process) for name, rule in rules.items()}
    if isinstance(process, Flow):
        found |= {"karras": karras(steps, **span, process=process), "exponential": exponential(steps, **span, process=process)}
    return found


def _spacings(steps: int, process: NoiseProcess) -> dict[str, Array]:
    """Those for the whole range of a process, down to noise level 0."""
    found: dict[str, Array] = {}
    if isinstance(process, VP):
        found = {"leading": leading(steps, process=process), "trailing": trailing(steps, process=process)}
        found["ddim_uniform"] = leading(steps, process=process, offset=1)
    if isinstance(process, Flow):
        found = {"shifted": shifted(steps, process=process), "normal": normal(steps, process=process)}
        found["flux2"] = flux2(steps, process=process)
    found |= {"sgm_uniform": sgm_uniform(steps, process=process), "simple": simple(steps, process=process)}
    if steps > 1:
        found["linear_quadratic"] = linear_quadratic(steps, process=process)
    if steps > 1 and isinstance(process, Flow):
        found["ltx2"] = ltx2(steps, process=process)
    return found


def _printed(levels: Array, steps: int, terminal: Terminal) -> Array:
    """A published table for a number of steps; with terminal `zero` its last level becomes 0, as diffusers and ComfyUI read it."""
    taken = resample(levels, steps)
    return taken if terminal == "sigma_min" else close(taken[:-1], "zero")


def _distinct(found: dict[str, Array]) -> dict[str, Array]:
    """Strictly decreasing schedules, without those that repeat an earlier one."""
    kept: dict[str, Array] = {}
    for name, levels in found.items():
        falls = np.all(np.diff(levels) < 0)
        if falls and not any((np.abs(levels - other) <= _SAME * other).all() for other in kept.values()):
            kept[name] = levels
    return kept


def moved_ends(steps: int, *, sigma_max: float, sigma_min: float, terminal: Terminal) -> dict[str, Array]:
    """EDM and log-SNR from a lower top and, where the last step leads to 0, to a higher bottom.

    Args:
        steps: number of steps, >= 2.
        sigma_max: highest level of the range.
        sigma_min: lowest level that is evaluated.
        terminal: where the last step ends; with `sigma_min` the bottom stays.

    Returns:
        Levels by name as `edm(top=20, bottom=0.02)`, with the ends that were moved, each of shape (steps + 1,); none where the range
        holds none of the ends that are tried.
    """
    tops = [sigma_max, *(top for top in _TOPS if sigma_min < top < sigma_max)]
    bottoms = [sigma_min, *(bottom for bottom in _BOTTOMS if sigma_min < bottom < tops[-1] and terminal == "zero")]
    found: dict[str, Array] = {}
    for top in tops:
        for bottom in bottoms:
            moved = [f"top={top:g}"] * (top != sigma_max) + [f"bottom={bottom:g}"] * (bottom != sigma_min)
            if not moved or bottom >= top:
                continue
            span = Span(sigma_max=top, sigma_min=bottom, terminal=terminal)
            found |= {f"{rule.__name__}({', '.join(moved)})": rule(steps, **span) for rule in (edm, log_snr)}
    return found


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
    return close(ramp, "zero" if to_zero else "sigma_min")
