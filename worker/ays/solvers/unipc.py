r"""UniPC (Zhao et al. 2023, https://arxiv.org/abs/2302.04867), data prediction, `B(h) = e^h - 1` ("bh2").

The predictor of order p combines the last p evaluations. The corrector takes the same step again with the evaluation that the next step
makes anyway, at the predicted state. With $r_k = (\lambda_k - \lambda) / h$ of the other nodes,

    Dhat = D + sum_k (rho_k / r_k) (D_k - D),    sum_k rho_k r_k^(i - 1) = b_i = i! phi_(i+1)(-h) / phi_1(-h),

which is the mean over the step of the polynomial in lambda through all nodes; only a single rho is simply 1/2, as printed. Before a step
to noise level 0 the order falls by one a step (diffusers' `lower_order_final`).
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import Solver, newest
from worker.ays.solvers.lagrange import lagrange_means


def _moments(h: Array, count: int) -> Array:
    """`b_1 ... b_count`: means of the powers of `(lambda_u - lambda) / h` over the step; shape (count, ...)."""
    rows, phi, factorial = [], np.expm1(-h) / -h - 1, 1
    for i in range(1, count + 1):
        rows.append(phi * factorial / np.expm1(-h))
        factorial *= i + 1
        phi = phi / -h - 1 / factorial
    return np.stack(rows)


def _others(h: Array, r: Array) -> Array:
    """Weights of the evaluations at `lambda + r h`, r of shape (count, ...), beside the one at lambda."""
    return 0.5 / r if len(r) == 1 else lagrange_means(r, _moments(h, len(r)))


def predictor(levels: Array) -> Array:
    """Weights of the evaluations before the step, newest first."""
    if len(levels) == 2:
        return newest(levels)
    h = np.log(levels[1] / levels[0])
    others = _others(h, np.log(levels[1] / levels[2:]) / h)
    return np.concatenate([1 - others.sum(0, keepdims=True), others])


def corrector(levels: Array) -> Array:
    """Weights of the evaluation at the end of the step, then of those before it, newest first."""
    h = np.log(levels[1] / levels[0])
    others = _others(h, np.concatenate([np.log(levels[1] / levels[2:]) / h, np.ones_like(h)[None]]))
    return np.concatenate([others[-1:], 1 - others.sum(0, keepdims=True), others[:-1]])


UNIPC = Solver(name="unipc", order=3, history=2, weights=predictor, corrector=corrector, tapers=True)
UNIPC_3 = Solver(name="unipc_3", order=4, history=3, weights=predictor, corrector=corrector, tapers=True)
