r"""Statistics of squared errors: heavy-tailed, paired over the same noise samples, and few.

A few noises that end in another mode of the data carry most of a mean. So schedules are ranked, fitted and accepted by one robust
objective, Cauchy's loss, whose scale follows from the errors of the incumbent; what is reported is the mean itself, with an interval from
the studentized bootstrap of its logarithm (Efron and Tibshirani 1993, chapter 12; Hall 1992), which covers where errors are skewed.
"""

import math
from dataclasses import dataclass

import numpy as np

from worker.ays.noise import Array

TAIL = 300.0
"""Scale of the robust loss, in medians of the incumbent's errors: below it an error counts as it is, above it by its logarithm. At 30 the
few samples that end in another mode, which the mean is about, weigh too little: 1.13 of the error on the mixture's cells."""
RIVAL = 1.0
"""Standard errors of the paired difference by which another candidate must be better than the default: the luckiest of many is not."""
BULK = 3.0
"""Clip of the veto's errors, in medians of the incumbent's errors: what all but the tail of the noises see."""
SURE = 2.0
"""Standard errors of a paired difference beyond which it is significant: 95 %, two-sided."""
_RESAMPLES, _LEVEL = 2000, 0.95
_TINY = 1e-300


@dataclass(frozen=True)
class Mean:
    """A Monte-Carlo estimate: mean and the standard error of that mean."""

    mean: float
    standard_error: float


def estimate(values: Array) -> Mean:
    """Mean of independent values with its standard error (infinite for a single one); values of shape (n,)."""
    spread = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Mean(float(values.mean()), spread)


def tail_scale(errors: Array) -> float:
    """Scale of the robust loss that the errors of an incumbent give, shape (n,); above 0."""
    return TAIL * float(np.median(errors)) + _TINY


def robust_loss(errors: Array, scale: float) -> Array:
    """Cauchy's loss `scale ln(1 + error / scale)` of squared errors, same shape: an error itself where it is small."""
    return scale * np.log1p(errors / scale)


def z_score(errors: Array, others: Array) -> float:
    """Mean of a paired difference in its standard errors, negative where `errors` are smaller; shapes (n,)."""
    change = estimate(errors - others)
    return (
        change.mean / change.standard_error if change.standard_error > 0 else math.copysign(math.inf, change.mean) if change.mean else 0.0
    )


def accepted(errors: Array, incumbent: Array, *, by: float = 0.0) -> bool:
    """Whether an answer may take the place of an incumbent, given both errors on the same validation noises, shapes (n,).

    Its robust loss must be smaller; and where the bulk of the errors (clipped at `BULK` medians of the incumbent's) is significantly
    larger, the mean must be significantly smaller.

    Args:
        errors: of the answer.
        incumbent: of the incumbent.
        by: standard errors of the paired difference of robust losses by which it must be smaller.
    """
    scale = tail_scale(incumbent)
    if z_score(robust_loss(errors, scale), robust_loss(incumbent, scale)) >= -by:
        return False
    top = BULK * float(np.median(incumbent))
    vetoed = z_score(np.minimum(errors, top), np.minimum(incumbent, top)) > SURE
    return not vetoed or z_score(errors, incumbent) < -SURE


def mean_interval(errors: Array) -> tuple[float, float]:
    """95 % confidence interval of the mean of non-negative errors, shape (n,), by the studentized bootstrap of its logarithm."""
    return _log_interval(errors, None)


def ratio_interval(errors: Array, others: Array) -> tuple[float, float]:
    """95 % confidence interval of the ratio of two means over the same noises, shapes (n,), by the same bootstrap, resampled in pairs."""
    return _log_interval(errors, others)


def _log_interval(errors: Array, others: Array | None) -> tuple[float, float]:
    mean, deviation = _log_mean(errors[None], None if others is None else others[None])
    if not np.isfinite(mean[0]) or deviation[0] <= 0:
        value = float(np.exp(mean[0])) if np.isfinite(mean[0]) else 0.0
        return value, value
    drawn = np.random.default_rng(0).integers(0, len(errors), (_RESAMPLES, len(errors)))
    means, deviations = _log_mean(errors[drawn], None if others is None else others[drawn])
    t = (means - mean[0]) / np.maximum(deviations, _TINY)
    low, high = np.quantile(t[np.isfinite(t)], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(np.exp(mean[0] - high * deviation[0])), float(np.exp(mean[0] - low * deviation[0]))


def _log_mean(errors: Array, others: Array | None) -> tuple[Array, Array]:
    """Logarithm of means (or of ratios of means) along the last axis, and its standard error by the delta method."""
    n, mean = errors.shape[-1], errors.mean(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence, value = errors / mean, np.log(mean[..., 0])
        if others is not None:
            other = others.mean(axis=-1, keepdims=True)
            influence, value = influence - others / other, value - np.log(other[..., 0])
        return value, influence.std(axis=-1, ddof=1) / math.sqrt(n)
