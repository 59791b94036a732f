r"""DMN: knots that minimize a bound on the global error, without a network (Xue et al. 2024, https://arxiv.org/abs/2402.17376, Section 3).

With $\lambda = -\ln \sigma$ a multistep solver of order 3 adds up $\int e^\lambda l_j(\lambda) d\lambda\, D_j$ over its steps, $l_j$ the
Lagrange polynomials of the last knots. If the denoiser errs at knot j by up to e_j, the sample errs by at most

    sum_j e_j | sum_steps integral e^lambda l_j d lambda |,    e_j = sigma_j  (pixel space).

The order rises at the start and falls at the end: 1, 2, 3, ..., 3, 2, 1. The first three steps and the last one count each on its own (the
root of the sum of their squares), as in the authors' program: with all steps in one sum the bound has degenerate minima, where
extrapolations over most of the range cancel each other.
"""

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.optimize import Bounds, LinearConstraint, minimize

from benchmarks.baselines.problem import Problem, closed
from worker.ays.noise import Array
from worker.ays.schedule import edm, log_snr
from worker.ays.solvers import Solver

ORDER = 3

_NODES, _WEIGHTS = leggauss(10)


def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
    """The better of the minima from two starts; needs nothing but the range."""

    def search() -> Array:
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        starts = [edm(n, **span, terminal="sigma_min"), log_snr(n, **span, terminal="sigma_min")]
        return min((_descend(start) for start in starts), key=error_bound)

    return closed(problem.shared(("dmn", n), search))


def coefficients(levels: Array) -> Array:
    """`integral e^lambda l_j d lambda` of every step (rows) for every knot it uses (columns), shape (n, n)."""
    lam = -np.log(levels)
    n = len(levels) - 1
    table = np.zeros((n, n))
    for step in range(n):
        order = min(ORDER, step + 1, n - step)
        knots = np.arange(step - order + 1, step + 1)
        half = (lam[step + 1] - lam[step]) / 2
        at = lam[step] + half * (1 + _NODES)
        for j in knots:
            others = knots[knots != j]
            polynomial = np.prod((at[:, None] - lam[others]) / (lam[j] - lam[others]), axis=1)
            table[step, j] = half * np.sum(_WEIGHTS * np.exp(at) * polynomial)
    return table


def error_bound(levels: Array) -> float:
    """The objective; levels > 0, shape (n + 1,); huge where they do not decrease."""
    if np.any(np.diff(levels) >= 0):
        return 1e300
    weighted = coefficients(levels) * levels[:-1]
    step = np.arange(len(weighted))
    alone = (step < ORDER) | (step == len(step) - 1)
    return float(np.linalg.norm(weighted[alone], axis=1).sum() + np.abs(weighted[~alone].sum(axis=0)).sum())


def _descend(start: Array) -> Array:
    lam = -np.log(start)
    ends, least = lam[[0, -1]], 1e-3 * (lam[-1] - lam[0]) / len(lam)

    def levels(z: Array) -> Array:
        return np.exp(-np.concatenate([ends[:1], z, ends[1:]]))

    within = Bounds(ends[0], ends[1])
    differences = np.eye(len(lam) - 1, len(lam) - 2) - np.eye(len(lam) - 1, len(lam) - 2, k=-1)
    low = np.full(len(lam) - 1, least)
    low[0] += ends[0]
    low[-1] -= ends[1]
    ordered = LinearConstraint(differences, low, np.inf)
    options = {"maxiter": 300}
    found = minimize(
        lambda z: np.log(error_bound(levels(z))), lam[1:-1], method="SLSQP", bounds=within, constraints=[ordered], options=options
    )
    moved = levels(found.x)
    return moved if np.all(np.diff(moved) < 0) and error_bound(moved) < error_bound(start) else start
