"""Direct optimization of the sample, LD3's problem (Tong et al. 2025, https://arxiv.org/abs/2405.15506): the limit of all others.

The knots minimize the distance of the student's samples to the fine solutions on many training noises, with the solver that will be used
(for an SDE from the same Brownian paths). LD3 descends by backpropagation; a problem of n numbers and thousands of residuals is
least squares, so this descends by Levenberg and Marquardt's method, Jacobian by differences, from several starts. It has many times the
evaluations of every other method; no validation guards it, as the training noises outnumber the knots by far.
"""

import math
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from benchmarks.baselines import entropic, gits, oss, stock
from benchmarks.baselines.problem import Problem
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.search.reference import ReferenceSet, deviations, solve_reference, squared_errors
from worker.ays.solvers import Solver

VALUES, NOISES, FINE_LEVELS, STARTS, ITERATIONS = 2**17, (32, 128), 64, 2, 10
"""Residuals wanted, and the least and the most noises that provide them."""

_STEP, _LEAST = 0.03, 1e-4
_RULES = tuple(stock.hand_made(name) for name in ("edm", "log_snr", "time_uniform"))
_STARTS = (*_RULES, stock.hand_made("beta"), gits.schedule, oss.schedule, entropic.schedule)


def schedule(problem: Problem, n: int, solver: Solver, *, more: tuple[Array, ...] = ()) -> Array:
    """The best end of the descents from the two best of seven starts, and from every one of `more`."""
    noises = problem.shared(("direct", solver.stochastic), lambda: training_noises(problem, solver))
    starts = np.stack([method(problem, n, solver) for method in _STARTS])
    order = squared_errors(solver, problem.denoise, starts, noises).mean(axis=1).argsort()
    descents = [descend(problem, solver, start, noises) for start in (*starts[order[:STARTS]], *more)]
    ends = np.stack([*starts, *more, *descents])
    return ends[squared_errors(solver, problem.denoise, ends, noises).mean(axis=1).argmin()]


def training_noises(problem: Problem, solver: Solver) -> ReferenceSet:
    """Noises with their fine solutions; none of them is a test noise."""
    grid = log_grid(problem.sigma_max, problem.sigma_min, FINE_LEVELS)
    count = int(np.clip(VALUES // math.prod(problem.denoise.shape), *NOISES))
    drawn: dict[str, Any] = {"indices": range(count), "seed": problem.seed, "stream": Stream.TRAINING}
    return solve_reference(solver, problem.denoise, problem.denoise.shape, levels=grid, terminal="zero", **drawn)


def descend(problem: Problem, solver: Solver, start: Array, noises: ReferenceSet) -> Array:
    """Least squares over the shares of the way from ln sigma_max to ln sigma_min; every evaluated level moves, the first one too."""
    top, span = np.log(problem.sigma_max), np.log(problem.sigma_max / problem.sigma_min)

    def levels(z: Array) -> Array:
        gaps = np.exp(z - z.max())
        shares = (gaps / gaps.sum() + _LEAST).cumsum()[:-1] / (1 + len(z) * _LEAST)
        return np.append(np.exp(top - span * shares), 0.0)

    def residuals(z: Array) -> Array:
        return deviations(solver, problem.denoise, levels(z)[None], noises)[0].flatten().numpy()

    def jacobian(z: Array) -> Array:
        moved = np.stack([levels(point) for point in (z, *(z + _STEP * np.eye(len(z))))])
        found = deviations(solver, problem.denoise, moved, noises).flatten(1)
        return ((found[1:] - found[0]) / _STEP).T.numpy()

    shares = np.append((top - np.log(start[:-1])) / span, 1.0)
    z = np.log(np.maximum(np.diff(shares, prepend=0.0), 1e-3))
    found = least_squares(residuals, z, jacobian, method="trf", x_scale="jac", max_nfev=ITERATIONS)
    return levels(found.x)
