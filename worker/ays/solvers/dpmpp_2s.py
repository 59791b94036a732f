r"""Two stages on D: DPM-Solver++(2S) and RES-2S at the step's geometric midpoint, exponential Heun at its end.

With $\phi_1(h) = (1 - e^{-h}) / h$ and $\phi_2(h) = (1 - \phi_1(h)) / h$, `b = phi_2 / phi_1` is the mean over the step of
$\lambda_u - \lambda$ in units of h. With D_2 the second evaluation,

    DPM-Solver++(2S)    Dhat = D_2                    (Lu et al. 2022, https://arxiv.org/abs/2211.01095, Algorithm 1, r = 1/2)
    RES-2S              Dhat = D + 2 b (D_2 - D)      (Zhang et al. 2023, https://arxiv.org/abs/2308.02157, c_2 = 1/2)
    exponential Heun    Dhat = D + b (D_2 - D)        (Gonzalez et al. 2023, https://arxiv.org/abs/2305.14267: SEEDS-2, no noise, r = 1)
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import Proxy, Solver, Stage


def mean_share(h: Array) -> Array:
    """Mean of `(lambda_u - lambda) / h` over a step of length h > 0."""
    decay = -np.expm1(-h)
    return (1 - decay / h) / decay


def _midpoint(now: Array, then: Array) -> Array:
    return np.sqrt(now * then)


def _end(_now: Array, then: Array) -> Array:
    return then


def _second_alone(now: Array, _then: Array) -> Array:
    return np.stack([np.ones_like(now), np.zeros_like(now)])


def _extrapolated(now: Array, then: Array) -> Array:
    second = 2 * mean_share(np.log(now / then))
    return np.stack([second, 1 - second])


def _interpolated(now: Array, then: Array) -> Array:
    second = mean_share(np.log(now / then))
    return np.stack([second, 1 - second])


def _left_by_2s(now: Array, then: Array) -> Array:
    """Part of the first-order error that is left (theory 19)."""
    return np.tanh(np.log(now / then) / 4)


def _left_by_res(now: Array, then: Array) -> Array:
    """Part of the first-order error that is left (theory 20)."""
    h = np.log(now / then)
    return 1 - 4 * mean_share(h) / (np.exp(h / 2) + 1)


DPMPP_2S = Solver(name="dpmpp_2s", order=2, stage=Stage(level=_midpoint, weights=_second_alone, proxy=Proxy(end=0.0, factor=_left_by_2s)))
RES_2S = Solver(name="res_2s", order=2, stage=Stage(level=_midpoint, weights=_extrapolated, proxy=Proxy(end=0.0, factor=_left_by_res)))
EXP_HEUN_2_X0 = Solver(name="exp_heun_2_x0", order=2, stage=Stage(level=_end, weights=_interpolated, proxy=None))
