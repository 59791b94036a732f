r"""DEIS (Zhang, Chen 2023, https://arxiv.org/abs/2204.13902): Adams-Bashforth with the slope as a polynomial in ln sigma, order 3.

The weights are means over the step of the Lagrange polynomials through the last slopes $(x - D) / \sigma$, in $\ln \sigma$ (log-rho).
A step to noise level 0 returns D, the one before it combines two slopes (diffusers' `lower_order_final`).
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import Solver, newest
from worker.ays.solvers.lagrange import lagrange_means


def polynomial_in_log_sigma(levels: Array) -> Array:
    """Weights of up to three slopes."""
    if len(levels) == 2:
        return newest(levels)
    then, now = levels[:2]
    q = then / now
    # Means of ln(u / now) and of its square for u uniform on the step.
    log_q = np.log(q)
    mean = (q * log_q - q + 1) / (q - 1)
    square = (q * log_q**2 - 2 * q * log_q + 2 * q - 2) / (q - 1)
    nodes = np.log(levels[2:] / now)
    others = lagrange_means(nodes, np.stack([mean, square])[: len(nodes)])
    return np.concatenate([1 - others.sum(0, keepdims=True), others])


DEIS = Solver(name="deis", order=3, history=3, weights=polynomial_in_log_sigma, combines="slopes", tapers=True)
