"""Sampling by a fitted schedule outside diffusers: `sample_fitted`, in k-diffusion's conventions, and the weights of a late start.

A step of a fitted schedule keeps a share of the state and adds a weighted sum of the last evaluations of the denoiser,

    x_(i+1) = r x_i + (1 - r) sum_m w_i[m] D_(i-m),    r = sigma_(i+1) / sigma_i,

in VE coordinates, `x_0 + sigma eps`. A flow model's state `(1 - t) x_0 + t eps` takes the very same step with t in place of sigma,
because `(1 - t') (1 - sigma' / sigma) = 1 - t' / t` where `sigma = t / (1 - t)`.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ays_client.errors import ScheduleRefused


def known_weights(weights: Sequence[float], known: int) -> list[float]:
    """Weights of one step when only its last `known` evaluations exist, as after a late start (img2img).

    The first evaluation stands for the missing ones: their weights are added to the oldest one that exists.

    Args:
        weights: weights of the step, newest evaluation first.
        known: number of evaluations that exist, at least 1.

    Returns:
        At most `known` weights of the same sum.
    """
    if known < 1:
        msg = f"received known={known}, expected at least 1; fix: evaluate the model before its estimates are weighted"
        raise ValueError(msg)
    return [*weights[: known - 1], sum(weights[known - 1 :])] if known < len(weights) else list(weights)


def sample_fitted(
    model: Callable[..., Any],
    x: Any,
    sigmas: Any,
    weights: Sequence[Sequence[float]],
    extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    disable: bool | None = None,
) -> Any:
    """Sample by a fitted schedule, as one of k-diffusion's `sample_*` functions.

    Args:
        model: denoiser; `model(x, sigma, **extra_args)` with sigma of shape (batch,) estimates the clean sample, of the shape of x.
        x: state at `sigmas[0]`, of shape (batch, ...): the clean sample plus sigma times noise, or, of a flow model whose `sigmas` are
            its t, `(1 - t) x_0 + t noise`. Float16 and bfloat16 reach the model as they are; the state is kept in float32.
        sigmas: tensor of steps + 1 decreasing levels; the last one may be 0.
        weights: `Schedule.weights`, one list for each step of the schedule. With fewer steps than lists `sigmas` are the last levels of
            the schedule (img2img), and the first evaluation stands for the missing ones.
        extra_args: further arguments of the model.
        callback: called after each evaluation with a dict of x, i, sigma, sigma_hat and denoised.
        disable: taken for the sake of k-diffusion's convention; there is no progress bar.

    Returns:
        The state at `sigmas[-1]`, of the shape and type of x.

    Raises:
        ValueError: there are more steps than lists of weights.
    """
    del disable
    levels = sigmas.tolist()
    steps = len(levels) - 1
    if not 0 <= steps <= len(weights):
        fix = "pass the schedule's own levels, or the last ones of them"
        msg = f"received {len(levels)} sigmas, expected at most {len(weights) + 1} for {len(weights)} lists of weights; fix: {fix}"
        raise ValueError(msg)
    state = x if x.element_size() >= 4 else x.float()
    ones, longest = x.new_ones([x.shape[0]]), max(map(len, weights))
    estimates: list[Any] = []
    for index, (high, low) in enumerate(itertools.pairwise(levels)):
        seen = state.to(x.dtype)
        denoised = model(seen, high * ones, **(extra_args or {}))
        if callback is not None:
            callback({"x": seen, "i": index, "sigma": sigmas[index], "sigma_hat": sigmas[index], "denoised": denoised})
        estimates = [denoised.to(state.dtype), *estimates][:longest]
        state = _step(state, estimates, known_weights(weights[index - steps], len(estimates)), low / high)
    return state.to(x.dtype)


def _step(state: Any, estimates: Sequence[Any], weights: Sequence[float], kept: float) -> Any:
    following = kept * state
    for weight, estimate in zip(weights, estimates, strict=False):
        following = following + (1.0 - kept) * weight * estimate
    return following


def weights_at(levels: Sequence[float], weights: Sequence[Sequence[float]], high: float, low: float) -> Sequence[float]:
    """Weights of the schedule's step within which a step from `high` to `low` lies, so that a late start may be between two levels.

    Args:
        levels: all levels of the schedule, decreasing.
        weights: one list for each of its steps.
        high: level at the start of the step.
        low: level at its end.
    """
    return weights[sum((high + low) / 2 <= level for level in levels[1:-1])]


def steps_within(levels: Sequence[float], sigmas: Sequence[float], *, tolerance: float = 1e-4) -> slice:
    """Which steps of a schedule a part of its levels are: those after a late start, or of one half of a split schedule.

    Args:
        levels: all levels of the schedule, decreasing.
        sigmas: the levels that are sampled.
        tolerance: largest relative difference of two levels that count as equal.

    Returns:
        The slice of the schedule's `weights` that belongs to `sigmas`.

    Raises:
        ScheduleRefused: `sigmas` are no contiguous part of the levels.
    """
    steps = len(sigmas) - 1
    for first in range(len(levels) - steps):
        part = levels[first : first + steps + 1]
        if all(math.isclose(own, given, rel_tol=tolerance) for own, given in zip(part, sigmas, strict=True)):
            return slice(first, first + steps)
    given = ", ".join(f"{sigma:g}" for sigma in sigmas)
    why = f"its weights belong to its own levels, and the levels received are {given}"
    raise ScheduleRefused.of(what="the fitted schedule", why=why, fix="sample its own levels, or a contiguous part of them")
