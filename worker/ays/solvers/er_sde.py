r"""ER-SDE-Solver 1, 2 and 3 (Cui et al. 2023, https://arxiv.org/abs/2309.06169), as ComfyUI's `sample_er_sde` runs them.

The noise function is $\phi(\sigma) = \sigma (e^{\sigma^{0.3}} + 10)$: the noise of the SDE far above the data, next to none below. D is
expanded in sigma around the newest evaluation,

    (1 - r) Dhat = (1 - r) D + (dt + phi' S_0) D_1 + (dt^2 / 2 + phi' S_1) D_2,    r = phi' / phi,    dt = sigma' - sigma,
    S_0 = integral_(sigma')^sigma  du / phi(u),    S_1 = integral_(sigma')^sigma  (u - sigma) / phi(u)  du,

with $D_1$ the slope through the last two evaluations and $D_2$ the second derivative through three. The integrals are the left sums of 200
points of the reference implementation. $D_1$ is no derivative at the newest evaluation, so the third stage improves the constant, not
the order.
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import Noise, Solver, newest

_POINTS = 200


def _scale(sigma: Array) -> Array:
    return sigma * (np.exp(sigma**0.3) + 10)


def _slope(sigma: Array) -> Array:
    power = sigma**0.3
    return 1 + 0.3 * power * np.exp(power) / (np.exp(power) + 10)


ER = Noise("er", _scale, _slope)


def _sums(now: Array, then: Array) -> tuple[Array, Array]:
    """S_0 and S_1, shapes as given; a cost asks for the same steps many times, so equal ones are summed once."""
    steps, which = np.unique(now.ravel() + 1j * then.ravel(), return_inverse=True)
    start, width = steps.real, (steps.real - steps.imag) / _POINTS
    points = steps.imag + np.arange(_POINTS)[:, None] * width
    density = 1 / _scale(points)
    zeroth, first = density.sum(0) * width, ((points - start) * density).sum(0) * width
    return zeroth[which].reshape(now.shape), first[which].reshape(now.shape)


def polynomial_in_sigma(levels: Array) -> Array:
    """Weights of up to three evaluations."""
    if len(levels) == 2:
        return newest(levels)
    then, now, before = levels[:3]
    dt, gain = then - now, 1 - _scale(then) / _scale(now)
    zeroth, first = _sums(now, then)
    slope = (dt + _scale(then) * zeroth) / gain / (now - before)
    if len(levels) == 3:
        return np.stack([1 + slope, -slope])
    oldest = levels[3]
    bend = (dt**2 / 2 + _scale(then) * first) / gain * 2 / (now - oldest)
    newer, older = slope + bend / (now - before), bend / (before - oldest)
    return np.stack([1 + newer, -newer - older, older])


ER_SDE_1 = Solver(name="er_sde_1", order=1, noise=ER)
ER_SDE_2 = Solver(name="er_sde_2", order=2, history=2, weights=polynomial_in_sigma, noise=ER)
ER_SDE_3 = Solver(name="er_sde_3", order=2, history=3, weights=polynomial_in_sigma, noise=ER)
