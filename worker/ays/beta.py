r"""Quantiles of the beta distribution for shapes up to one.

With $z = x^a$ the incomplete beta function is a power series of positive coefficients,

    B_x(a, b) = sum_n  (1 - b)_n / n!  z^(1 + n / a) / (a + n),

so it is convex in z, and Newton's method from above falls to the root. It is used below the middle; above, b and a change places.
"""

import math

import numpy as np

from worker.ays.noise import Array

_TERMS = 60
"""Terms of the series: below x = 1/2 the rest is less than 2^-60 of the sum."""
_ITERATIONS = 60
"""Newton steps at most; about eight are enough, more where a shape is near zero."""
_PRECISION = 1e-15
"""Relative step at which Newton's method has arrived."""


def beta_quantile(probability: Array, a: float, b: float) -> Array:
    """Inverse of the distribution function of Beta(a, b).

    Args:
        probability: in [0, 1], any shape.
        a: first shape, in (0, 1].
        b: second shape, in (0, 1].

    Returns:
        Quantiles in [0, 1], same shape.

    Raises:
        ValueError: a shape or a probability is outside its range.
    """
    p = np.asarray(probability, dtype=np.float64)
    if not (0 < a <= 1 and 0 < b <= 1 and np.all((p >= 0) & (p <= 1))):
        msg = f"received shapes {a}, {b} and probabilities {p}; expected shapes in (0, 1] and probabilities in [0, 1]"
        raise ValueError(msg)
    whole = math.exp(math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))
    middle = float(_incomplete(np.array(0.5**a), _coefficients(a, b), a)) / whole
    low, high = _below_the_middle(np.minimum(p, middle) * whole, a, b), _below_the_middle(np.minimum(1 - p, 1 - middle) * whole, b, a)
    return np.where(p <= middle, low, 1 - high)


def _below_the_middle(mass: Array, a: float, b: float) -> Array:
    """The x up to 1/2 with `B_x(a, b) = mass`."""
    z, coefficients = np.minimum(a * mass, 0.5**a), _coefficients(a, b)
    for _ in range(_ITERATIONS):
        step = (_incomplete(z, coefficients, a) - mass) * a * (1 - z ** (1 / a)) ** (1 - b)
        z = np.maximum(z - step, 0)
        if np.all(np.abs(step) <= _PRECISION * z):
            break
    return z ** (1 / a)


def _coefficients(a: float, b: float) -> Array:
    n = np.arange(_TERMS)
    return np.cumprod(np.append(1.0, (n[1:] - b) / n[1:])) / (a + n)


def _incomplete(z: Array, coefficients: Array, a: float) -> Array:
    """Incomplete beta function at `x = z^(1/a)`, x up to 1/2."""
    return z * (np.power.outer(z ** (1 / a), np.arange(_TERMS)) @ coefficients)
