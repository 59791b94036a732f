"""Schedules that need neither the model nor a search: what samplers offer today."""

import numpy as np

from ays_client.contract import Terminal
from ays_client.published import PUBLISHED
from benchmarks.baselines.problem import Method, Problem
from worker.ays.noise import Array
from worker.ays.schedule import stock_schedules
from worker.ays.solvers import Solver


def hand_made(name: str) -> Method:
    """One of the stock rules of `worker.ays.schedule` by name; where the process has no such rule, `edm`."""

    def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        found = stock_schedules(n, **span, terminal="zero", process=problem.process)
        return found.get(name, found["edm"])

    return schedule


def published(table: str) -> Method:
    """A table that Align Your Steps published for another model, stretched in ln sigma to the range of this one."""

    def schedule(problem: Problem, n: int, _solver: Solver) -> Array:
        # Terminal zero replaces the last level, so the table's own end is needed to know how far it reaches.
        ends = PUBLISHED[table].levels
        levels = np.array(PUBLISHED[table].schedule(n, Terminal.SIGMA_MIN))
        share = np.log(levels / ends[-1]) / np.log(ends[0] / ends[-1])
        stretched = problem.sigma_min * (problem.sigma_max / problem.sigma_min) ** share
        return np.append(stretched[:-1], 0.0)

    return schedule
