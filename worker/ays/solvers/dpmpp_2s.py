"""DPM-Solver++(2S) (Lu et al. 2022, https://arxiv.org/abs/2211.01095, Algorithm 1) with `r = 1/2`: D at the step's geometric midpoint."""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import Solver, Stage


def _midpoint(now: Array, then: Array) -> Array:
    return np.sqrt(now * then)


def _of_first_order(now: Array, then: Array) -> Array:
    """Part of the first-order error that is left (theory 19)."""
    return np.tanh(np.log(now / then) / 4)


DPMPP_2S = Solver(name="dpmpp_2s", order=2, stage=Stage(level=_midpoint, weights=(1.0, 0.0), proxy=0.0, factor=_of_first_order))
