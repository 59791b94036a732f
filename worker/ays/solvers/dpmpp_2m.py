r"""DPM-Solver++(2M) and its SDE form (Lu et al. 2022, https://arxiv.org/abs/2211.01095, Algorithm 2).

$\hat D = (1 + r) D - r D_{before}$ with $r = h / (2 h_{before})$, $h = \ln(\sigma / \sigma')$.
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import SDE, Solver, newest


def second_order(levels: Array) -> Array:
    """Weights of the newest evaluation and the one before it."""
    if len(levels) == 2:
        return newest(levels)
    then, now, before = levels
    r = np.log(now / then) / (2 * np.log(before / now))
    return np.stack([1 + r, -r])


DPMPP_2M = Solver(name="dpmpp_2m", order=2, history=2, weights=second_order)
DPMPP_2M_SDE = Solver(name="dpmpp_2m_sde", order=2, history=2, weights=second_order, noise=SDE)
