r"""Samplers in VE coordinates, written as exponential integrators of the denoiser.

On a step from sigma to sigma' a solver replaces $D(x_u, u)$ by an estimate $\hat D$ that is constant in u. The linear remainder is
solved exactly:

    deterministic   x' = (sigma' / sigma) x + (1 - sigma' / sigma) Dhat
    stochastic      x' = (sigma'^2 / sigma^2) x + (1 - sigma'^2 / sigma^2) Dhat + sigma'^2 (W(1 / sigma'^2) - W(1 / sigma^2))

First order: `Dhat = D(x, sigma)`. DPM-Solver++(2M) (Lu et al. 2022, https://arxiv.org/abs/2211.01095): `Dhat = (1 + r) D - r D_previous`
with `r = h / (2 h_previous)`, `h = ln(sigma / sigma')`. A step to noise level 0 returns D, always at first order (k-diffusion's rule).
Names are k-diffusion's; in VE coordinates `euler` and `ddim` are the same method, as are ancestral first-order DPM-Solver++ and `sddim`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array
from worker.ays.paths import Brownian

Denoise = Callable[[Tensor, Tensor], Tensor]
"""`(x (n, *shape), sigma (n,)) -> D (n, *shape)`, all float64."""


@dataclass(frozen=True)
class Solver:
    """What the cost and the sampler need to know of a method.

    Attributes:
        name: k-diffusion's name.
        order: order of convergence of the deterministic part.
        multistep: whether the estimate extrapolates from the previous evaluation (2M).
        stochastic: whether it solves the SDE (with Brownian increments) rather than the ODE.
        predictor_corrector: Heun: a second evaluation at the end of each step but the last.
        diffusers: class and arguments of the same method in diffusers.
    """

    name: str
    order: int
    multistep: bool = False
    stochastic: bool = False
    predictor_corrector: bool = False
    diffusers: str = ""

    def steps(self, nfe: int) -> int:
        """Number of steps that spend `nfe` evaluations."""
        return (nfe + 1) // 2 if self.predictor_corrector else nfe

    def evaluations(self, steps: int) -> int:
        """Evaluations that `steps` steps spend."""
        return 2 * steps - 1 if self.predictor_corrector else steps


SOLVERS = {
    solver.name: solver
    for solver in (
        Solver("euler", order=1, diffusers="EulerDiscreteScheduler"),
        Solver("ddim", order=1, diffusers="DPMSolverMultistepScheduler(solver_order=1)"),
        Solver("heun", order=2, predictor_corrector=True, diffusers="HeunDiscreteScheduler"),
        Solver("dpmpp_2m", order=2, multistep=True, diffusers="DPMSolverMultistepScheduler(solver_order=2)"),
        Solver("sddim", order=1, stochastic=True, diffusers="DPMSolverMultistepScheduler(sde-dpmsolver++, solver_order=1)"),
        Solver("dpmpp_2m_sde", order=2, multistep=True, stochastic=True, diffusers="DPMSolverMultistepScheduler(sde-dpmsolver++)"),
    )
}


def _column(values: Array, like: Tensor) -> Tensor:
    """Shape (S,) -> (S, 1, 1, ...), to multiply (S, n, *shape)."""
    return torch.from_numpy(np.ascontiguousarray(values)).reshape(-1, *[1] * (like.ndim - 1)).to(like)


def _start(levels: Array, noise: Tensor, brownian: Brownian | None) -> Tensor:
    """States at the first level of each schedule, shape (S, n, *shape): the level times standard normal noise.

    Below the top of a Brownian path that noise is `sigma (noise / sigma_top + W)`: what the path itself has become by then without a
    denoiser. Its law is the same, and schedules that start at different levels share their luck.
    """
    levels = np.ascontiguousarray(levels)
    scale = torch.from_numpy(levels).reshape(-1, *[1] * noise.ndim).to(noise)
    if brownian is None:
        return scale * noise
    path = brownian.at(torch.from_numpy(levels).unsqueeze(1)).to(noise)
    return scale.square() * (noise * float(brownian.u[0]) ** 0.5 + path)


class _Rollout:
    """State of S schedules run side by side from the same n starting noises; equal prefixes are evaluated once."""

    def __init__(self, solver: Solver, denoise: Denoise, sigmas: Array, x: Tensor, noise: Brownian | None) -> None:
        self.solver, self.denoise, self.sigmas, self.noise = solver, denoise, sigmas, noise
        self.x = _start(sigmas[:, 0], x, noise)
        self.previous: Tensor | None = None

    def evaluate(self, x: Tensor, step: int) -> Tensor:
        """D of every schedule at level `step`, shape (S, n, *shape)."""
        _, first, group = np.unique(self.sigmas[:, : step + 1], axis=0, return_index=True, return_inverse=True)
        rows = x[torch.from_numpy(first)]
        sigma = torch.from_numpy(self.sigmas[first, step]).to(x).repeat_interleave(x.shape[1])
        estimate = self.denoise(rows.flatten(0, 1), sigma).reshape(rows.shape)
        return estimate[torch.from_numpy(group.reshape(-1))]

    def advance(self, step: int) -> Tensor:
        """Take step number `step`, from level `step` to level `step + 1`; return D at level `step`."""
        now, then = self.sigmas[:, step], self.sigmas[:, step + 1]
        estimate = self.evaluate(self.x, step)
        last = step == self.sigmas.shape[1] - 2
        if np.all(then == 0):
            self.x = estimate
        elif self.solver.predictor_corrector and not last:
            self.x = self._heun(estimate, now, then, step)
        else:
            self.x = self._move(self._extrapolate(estimate, now, then, step), now, then)
        self.previous = estimate
        return estimate

    def _extrapolate(self, estimate: Tensor, now: Array, then: Array, step: int) -> Tensor:
        if not self.solver.multistep or self.previous is None:
            return estimate
        before = self.sigmas[:, step - 1]
        weight = _column(np.log(now / then) / (2 * np.log(before / now)), estimate)
        return estimate + weight * (estimate - self.previous)

    def _move(self, effective: Tensor, now: Array, then: Array) -> Tensor:
        if not self.solver.stochastic:
            ratio = _column(then / now, effective)
            return ratio * self.x + (1 - ratio) * effective
        if self.noise is None:
            msg = f"{self.solver.name} is stochastic and received no Brownian path; expected one"
            raise ValueError(msg)
        ratio = _column((then / now) ** 2, effective)
        levels = torch.from_numpy(np.stack([now, then], axis=1))
        increment = self.noise.at(levels[:, [1]]) - self.noise.at(levels[:, [0]])
        return ratio * self.x + (1 - ratio) * effective + _column(then**2, effective) * increment.to(self.x)

    def _heun(self, estimate: Tensor, now: Array, then: Array, step: int) -> Tensor:
        slope = (self.x - estimate) / _column(now, estimate)
        width = _column(then - now, estimate)
        predicted = self.x + width * slope
        corrected = (predicted - self.evaluate(predicted, step + 1)) / _column(then, estimate)
        return self.x + width * (slope + corrected) / 2


def sample(solver: Solver, denoise: Denoise, sigmas: Array, noise: Tensor, *, brownian: Brownian | None = None) -> Tensor:
    """Run one or several schedules from the same starting noises.

    Args:
        solver: the method.
        denoise: the model; evaluated once where several schedules agree from their start up to a level.
        sigmas: levels, strictly decreasing, the last may be 0, shape (S, N + 1) or (N + 1,).
        noise: standard normal starting noises, shape (n, *shape), float64; the start is `sigma_0 noise`.
        brownian: paths of the same n samples, for stochastic solvers.

    Returns:
        Samples at the last level, shape (S, n, *shape) or (n, *shape).
    """
    table = np.atleast_2d(np.asarray(sigmas, dtype=np.float64))
    run = _Rollout(solver, denoise, table, noise, brownian)
    for step in range(table.shape[1] - 1):
        run.advance(step)
    return run.x if np.ndim(sigmas) == 2 else run.x[0]


def trajectory(
    solver: Solver, denoise: Denoise, sigmas: Array, noise: Tensor, *, brownian: Brownian | None = None
) -> tuple[Tensor, Tensor]:
    """Run one schedule and keep what it visits.

    Args:
        solver: a method with one evaluation a step.
        denoise: the model.
        sigmas: levels, strictly decreasing, all > 0, shape (G,).
        noise: standard normal starting noises, shape (n, *shape), float64.
        brownian: paths of the same n samples, for stochastic solvers.

    Returns:
        `(x, d)`, the states at every level and the denoiser there, each of shape (G, n, *shape).
    """
    run = _Rollout(solver, denoise, np.asarray(sigmas, dtype=np.float64)[None], noise, brownian)
    states, estimates = [], []
    for step in range(len(sigmas) - 1):
        states.append(run.x[0])
        estimates.append(run.advance(step)[0])
    states.append(run.x[0])
    estimates.append(run.evaluate(run.x, len(sigmas) - 1)[0])
    return torch.stack(states), torch.stack(estimates)
