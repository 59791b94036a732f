"""Schedules of others, written from their papers, behind one interface: `schedule(name, problem, n, solver)`.

What `gradient.fit(problem, n)` answers is a solver, levels with weights, and so stands beside the table.
"""

from benchmarks.baselines import ays, direct, dmn, entropic, gits, oss, score_optimal, stock
from benchmarks.baselines.problem import Found, Method, Problem
from worker.ays.solvers import Solver

BASELINES: dict[str, Method] = {
    **{name: stock.hand_made(name) for name in ("edm", "log_snr", "time_uniform", "trailing", "leading", "beta")},
    "published_sd15": stock.published("stable-diffusion-1.5"),
    "published_sdxl": stock.published("stable-diffusion-xl"),
    "published_svd": stock.published("stable-video-diffusion"),
    "dmn": dmn.schedule,
    "entropic": entropic.schedule,
    "score_optimal": score_optimal.schedule,
    "gits": gits.schedule,
    "oss": oss.schedule,
    "ays": ays.schedule,
    "direct": direct.schedule,
}
"""Every method by name."""


def schedule(name: str, problem: Problem, n: int, solver: Solver) -> Found:
    """Levels of a method with what they cost.

    Args:
        name: one of `BASELINES`.
        problem: the model.
        n: evaluations, at least 2.
        solver: a method with one evaluation a step.
    """
    return problem.solve(BASELINES[name], n, solver)


__all__ = ["BASELINES", "Found", "Method", "Problem", "schedule"]
