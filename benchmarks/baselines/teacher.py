"""Fine trajectories that GITS and OSS imitate."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.baselines.problem import Problem, flat
from worker.ays.noise import Array
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, trajectory


@dataclass(frozen=True)
class Teacher:
    """Trajectories of the probability-flow ODE with their end.

    Attributes:
        levels: strictly decreasing, then 0, shape (G + 1,).
        states: states at every level, the last ones the samples, shape (G + 1, count, dim), float64.
        estimates: the denoiser at every level above 0, shape (G, count, dim).
    """

    levels: Array
    states: Tensor
    estimates: Tensor


def teacher(problem: Problem, *, points: int, count: int) -> Teacher:
    """Solve from `count` noises on EDM's levels (rho = 7) with DPM-Solver++(2M), then denoise."""

    def solve() -> Teacher:
        levels = edm(points - 1, sigma_max=problem.sigma_max, sigma_min=problem.sigma_min, terminal="sigma_min")
        states, estimates = trajectory(SOLVERS["dpmpp_2m"], problem.denoise, levels, problem.noise(count))
        return Teacher(np.append(levels, 0.0), torch.cat([flat(states), flat(estimates[-1:])]), flat(estimates))

    return problem.shared(("teacher", points, count), solve)
