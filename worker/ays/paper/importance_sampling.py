r"""The proposal of the paper's importance sampling: the integrand of the bound for Gaussian data, normalized.

For data $N(0, c^2 I)$ and its exact denoiser (paper, Lemma 3.3), between levels $t < b$ and up to the factor $c^4 d$,

    E || D_t - D_b ||^2  =  1 / (t^2 + c^2) - 1 / (b^2 + c^2)                                                         (theory 12)

so $t$ is drawn with density $\pi(t) \propto t^{-3} (1 / (t^2 + c^2) - 1 / (b^2 + c^2))$, where b is the upper knot of the interval that
holds t. The integral of that is a closed form (theory 13), and so are the normalizer $Z$, which the printed Algorithm 2 leaves out although
it depends on the candidate, and the distribution function, which is inverted in $\ln t$.
"""

import numpy as np

from worker.ays.noise import Array

_BISECTIONS = 52
_SMALL = 1e-2
_SERIES = 9


def _log1p_less_linear(w: Array) -> Array:
    """`log(1 + w) - w` for w > 0, without cancellation at small w."""
    small = np.minimum(w, _SMALL)
    series = sum((-1) ** (n + 1) * small**n / n for n in range(2, _SERIES))
    return np.where(w < _SMALL, series, np.log1p(w) - w)


class GaussianProposal:
    """Density of the paper's importance sampling on two intervals that share a knot."""

    def __init__(self, c: float) -> None:
        """Fix the standard deviation `c > 0` of the Gaussian (paper: 0.5)."""
        self.c = c

    def gain(self, level: Array, upper: Array) -> Array:
        """`1 / (t^2 + c^2) - 1 / (b^2 + c^2)` (theory 12) for t = `level` <= b = `upper`, which broadcast; >= 0."""
        c2 = self.c**2
        return (upper - level) * (upper + level) / ((level**2 + c2) * (upper**2 + c2))

    def mass(self, low: Array, level: Array, upper: Array) -> Array:
        """Integral of `t^-3 gain(t, upper)` over t from `low` to `level`, low <= level <= upper, in closed form (theory 13)."""
        c2 = self.c**2
        primitive = (_log1p_less_linear(c2 / level**2) - _log1p_less_linear(c2 / low**2)) / (2 * c2**2)
        return primitive - (1 / low**2 - 1 / level**2) / (2 * (upper**2 + c2))

    def normalizer(self, low: float, mid: Array, high: float) -> Array:
        """Z: mass of both intervals, low < mid < high, shape of `mid`."""
        return self.mass(np.asarray(low), mid, mid) + self.mass(mid, np.asarray(high), np.asarray(high))

    def sample(self, u: Array, low: float, mid: Array, high: float) -> Array:
        """Invert the distribution function.

        Args:
            u: uniform numbers in (0, 1), shape (n,).
            low: lower knot, > 0.
            mid: candidates for the knot between, low < mid < high, shape (r,).
            high: upper knot.

        Returns:
            Levels in (low, high), shape (r, n).
        """
        split = self.mass(np.asarray(low), mid, mid)[:, None]
        wanted = u * self.normalizer(low, mid, high)[:, None]
        below = wanted < split
        start = np.where(below, low, mid[:, None])
        upper = np.where(below, mid[:, None], high)
        wanted = np.where(below, wanted, wanted - split)
        left, right = np.log(start), np.log(upper)
        for _ in range(_BISECTIONS):
            centre = (left + right) / 2
            more = self.mass(start, np.exp(centre), upper) < wanted
            left, right = np.where(more, centre, left), np.where(more, right, centre)
        return np.exp((left + right) / 2)
