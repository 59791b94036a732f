"""Align Your Steps as published (Sabour, Fidler, Kreis 2024, https://arxiv.org/abs/2404.14507), with the parts of `worker.ays.paper`.

Ten steps by coordinate descent on the first-order bound, the schedule of every sweep recorded; the one that the real solver likes best on
noises of the search is kept (the paper's early stopping, with a number in place of the eye), halved to 20 and 40 steps and
interpolated to any other number. The paper draws 8,192 samples for every estimate; with numbers shared by all candidates far fewer do,
and the fewer the more dimensions each has.
"""

import math
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.baselines.problem import Problem, closed
from worker.ays.noise import Array
from worker.ays.paper.coordinate_search import BASE_STEPS, Neighbourhood, descend, optimize_midpoints, subdivide
from worker.ays.paper.importance_sampling import GaussianProposal
from worker.ays.paper.klub_estimator import KlubEstimator
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.schedule import edm, resample, time_uniform
from worker.ays.search.reference import solve_reference, squared_errors
from worker.ays.solvers import Solver

VALUES, SAMPLES, SWEEPS, JUDGED = 2**14, (24, 64), 5, 32
"""Values wanted of an estimate, the least and the most samples that provide them, sweeps, and noises that choose among them."""

_C, _FINE_LEVELS = 0.5, 64


def schedule(problem: Problem, n: int, solver: Solver) -> Array:
    """The kept schedule, interpolated to n steps."""
    record = problem.shared("ays", lambda: _record(problem))
    kept = problem.shared(("ays", solver.name), lambda: _kept(problem, solver, record))
    if n == BASE_STEPS:
        return closed(record[kept])
    finest = problem.shared(("ays", "midpoints", kept), lambda: _halved(problem, record[kept]))
    return closed(resample(finest, n))


def _klub(problem: Problem) -> KlubEstimator:
    count = int(np.clip(VALUES // math.prod(problem.denoise.shape), *SAMPLES))
    return KlubEstimator(problem.denoise, problem.clean(count), proposal=GaussianProposal(_C), seed=problem.seed)


def _record(problem: Problem) -> list[Array]:
    span: dict[str, Any] = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min, "terminal": "sigma_min"}
    discrete = problem.process.kind == "vp"
    start = time_uniform(BASE_STEPS, **span, process=problem.process) if discrete else edm(BASE_STEPS, **span)
    return [start, *islice(descend(_klub(problem), start, Neighbourhood()), SWEEPS)]


def _kept(problem: Problem, solver: Solver, record: list[Array]) -> int:
    grid = log_grid(problem.sigma_max, problem.sigma_min, _FINE_LEVELS)
    drawn: dict[str, Any] = {"indices": range(JUDGED), "seed": problem.seed, "stream": Stream.TRAINING}
    noises = solve_reference(solver, problem.denoise, problem.denoise.shape, levels=grid, terminal="zero", **drawn)
    candidates = np.stack([closed(levels) for levels in record])
    return int(squared_errors(solver, problem.denoise, candidates, noises).mean(axis=1).argmin())


def _halved(problem: Problem, levels: Array) -> Array:
    for _ in range(2):
        levels = optimize_midpoints(_klub(problem), subdivide(levels), Neighbourhood(), sweeps=1)
    return levels
