r"""What a solver declares. Sampler, cost, table and tests follow from the declaration (docs/theory.md, section 12).

On a step from sigma to sigma' a solver replaces $D(x_u, u)$ by an estimate $\hat D$ that is constant in u and solves the linear rest
exactly. How much noise it adds is a function phi of sigma (Cui et al. 2023, https://arxiv.org/abs/2309.06169), and everything else
follows from it: $d(x / \phi) = D \, d(1 / \phi) + dM$ with M a Brownian motion in the clock $(\sigma / \phi)^2$ (theory 16), so

    x' = (phi' / phi) x + (1 - phi' / phi) Dhat + phi' (M' - M).                                            (theory 4, 5)

A step to noise level 0 returns the newest evaluation, whatever the method.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from worker.ays.noise import Array

Weights = Callable[[Array], Array]
"""Noise levels from the end of the step backwards, shape (m + 1, ...): `then, now, before, ...`. Returns weights that sum to one."""


@dataclass(frozen=True)
class Noise:
    """A noise function phi (theory 16).

    Attributes:
        name: `ode` (none), `sde` (as much as the forward process), or a name of its own.
        scale: phi at noise levels >= 0, any shape.
        slope: `d ln phi / d ln sigma` at noise levels > 0, so that `d(1 / phi) = -(slope / phi) d ln sigma`.
    """

    name: str
    scale: Callable[[Array], Array]
    slope: Callable[[Array], Array]

    def clock(self, sigma: Array) -> Array:
        """Variance of M at noise levels > 0, increasing as sigma falls."""
        return (sigma / self.scale(sigma)) ** 2


ODE = Noise("ode", lambda sigma: sigma, np.ones_like)
SDE = Noise("sde", np.square, lambda sigma: np.full_like(sigma, 2.0))


@dataclass(frozen=True)
class Proxy:
    """A rule on the path whose error is that of a two-stage method on Gaussian data to leading order (theory 9, 19).

    Attributes:
        end: weight of an evaluation at the end of the step; that at its start has the rest.
        factor: `(now, then) -> how many times` its error counts.
    """

    end: float
    factor: Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Stage:
    """A second evaluation within a step, after a first-order step to a level of its own.

    Attributes:
        level: `(now, then) -> level` of the second evaluation.
        weights: `(now, then) -> weights` of the second and the first evaluation, shape (2, ...).
        proxy: what stands for its cost; None where the second evaluation is at the end of the step: the cost is that of its own weights
            there, with what D passes on of the first-order step's error (theory 21).
    """

    level: Callable[[Array, Array], Array]
    weights: Callable[[Array, Array], Array]
    proxy: Proxy | None


def newest(levels: Array) -> Array:
    """First order: the newest evaluation alone."""
    return np.ones_like(levels[1:])


@dataclass(frozen=True, kw_only=True)
class Solver:
    """A sampling method in VE coordinates.

    Attributes:
        name: our name, k-diffusion's where it has one.
        order: measured order of convergence of the method without its noise, on graded grids.
        history: evaluations that a step combines at most, the newest included; the first steps have fewer.
        weights: of the combined evaluations, newest first, for as many as the levels it is given, less one.
        combines: `denoised`: the weights are of D, and sum to `Dhat`; `slopes`: of `(x - D) / sigma`, and `x' = x + (sigma' - sigma) sum`.
        corrector: weights of the evaluation at the end of the step and those before it, with which the next step first replaces this
            one's state; it costs no evaluation.
        stage: a second evaluation in every step but the last.
        noise: how much noise is added.
        tapers: before a step to noise level 0 the history shrinks by one a step (diffusers' `lower_order_final`).
        fitted: whether the weights belong to a schedule, step by step, in place of the rule `weights`; then a step to noise level 0
            combines, too.
    """

    name: str
    order: int
    history: int = 1
    weights: Weights = newest
    combines: Literal["denoised", "slopes"] = "denoised"
    corrector: Weights | None = None
    stage: Stage | None = None
    noise: Noise = ODE
    tapers: bool = False
    fitted: bool = False

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise, and so needs Brownian paths."""
        return self.noise is not ODE

    @property
    def measure(self) -> Literal["flow", "forward"]:
        """The path measure of its cost: the bound needs forward paths, errors injected into paths smooth or nearly so the ODE's."""
        return "forward" if self.noise is SDE else "flow"

    @property
    def multistep(self) -> bool:
        """Whether a step combines evaluations of earlier ones."""
        return self.history > 1

    @property
    def closes_differently(self) -> bool:
        """Whether a last step above noise level 0 is another one: nothing is evaluated at its end."""
        return self.stage is not None or self.corrector is not None

    @property
    def passes_on(self) -> bool:
        """Whether it combines an evaluation at the end of a step, which is at a predicted state."""
        return self.corrector is not None or (self.stage is not None and self.stage.proxy is None)

    @property
    def exact(self) -> bool:
        """Whether its cost is exact: every evaluation is at a state of the path, on the path measure that was sampled."""
        return not self.closes_differently and self.noise in (ODE, SDE)

    @property
    def evaluations_per_step(self) -> int:
        """Evaluations of every step but the last, which has one."""
        return 1 if self.stage is None else 2

    def steps(self, nfe: int) -> int:
        """Number of steps that spend `nfe` evaluations."""
        return 1 + (nfe - 1) // self.evaluations_per_step

    def evaluations(self, steps: int) -> int:
        """Evaluations that `steps` steps spend."""
        return 1 + (steps - 1) * self.evaluations_per_step

    def combined(self, step: int, steps: int, *, to_zero: bool) -> int:
        """How many evaluations step number `step` of `steps` combines."""
        most = min(self.history, step + 1)
        return min(most, steps - step) if self.tapers and to_zero else most

    def truncated(self, history: int) -> "Solver":
        """The same method with a shorter history, as in its own first steps."""
        return replace(self, history=min(history, self.history))
