r"""iPNDM (Zhang, Chen 2023, https://arxiv.org/abs/2204.13902): Adams-Bashforth weights of equal steps, up to four slopes.

The weights do not know how long the steps are. On steps even in sigma its order is 4; on graded ones, which are the useful ones, 2.
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import Solver

_ADAMS_BASHFORTH = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


def adams_bashforth(levels: Array) -> Array:
    """Weights of up to four slopes, whatever the levels."""
    weights = np.array(_ADAMS_BASHFORTH[len(levels) - 1])
    return weights.reshape(-1, *[1] * (levels.ndim - 1)) * np.ones_like(levels[1:])


IPNDM = Solver(name="ipndm", order=2, history=4, weights=adams_bashforth, combines="slopes")
