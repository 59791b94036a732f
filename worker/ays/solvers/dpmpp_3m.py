r"""DPM-Solver++(3M) and its SDE form, as k-diffusion's `sample_dpmpp_3m_sde` runs them with eta = 0 and 1.

With $D_1$ and $D_2$ the first derivative and the second divided difference of D in $\lambda = -\ln\sigma$ through the last three
evaluations, times h and $h^2$, and z = h (ODE) or 2 h (SDE),

    (1 - e^-z) Dhat = (1 - e^-z) D + phi_2 D_1 - phi_3 D_2,    phi_2 = 1 - (1 - e^-z) / z,    phi_3 = phi_2 / z - 1/2.

A Taylor expansion has `2 phi_3`: the printed update counts the curvature half (the single-step one of Lu et al. 2022 does not), so its
order is 2, with an error constant below that of 2M. We run what people run.
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import SDE, Solver, Weights, newest


def third_order(rate: float) -> Weights:
    """Weights of up to three evaluations, where the linear part decays as `e^(-rate h)`."""

    def weights(levels: Array) -> Array:
        if len(levels) == 2:
            return newest(levels)
        steps = np.log(levels[1:] / levels[:-1])
        h = steps[0]
        z = rate * h
        decay = -np.expm1(-z)
        first = (1 - decay / z) / decay
        r = steps[1:] / h
        if len(levels) == 3:
            return np.stack([1 + first / r[0], -first / r[0]])
        second = ((1 - decay / z) / z - 0.5) / decay
        slope = first * (1 + r[0] / (r[0] + r[1])) - second / (r[0] + r[1])
        bend = first * r[0] / (r[0] + r[1]) - second / (r[0] + r[1])
        newer, older = slope / r[0], bend / r[1]
        return np.stack([1 + newer, -newer - older, older])

    return weights


DPMPP_3M = Solver(name="dpmpp_3m", order=2, history=3, weights=third_order(1.0))
DPMPP_3M_SDE = Solver(name="dpmpp_3m_sde", order=2, history=3, weights=third_order(2.0), noise=SDE)
