r"""What a schedule is optimized for: the weight of errors by noise level, and a bound on the ratio of successive steps.

The weight is $w(\sigma) = (\sigma^{-2} + \kappa^{-2})^{-p/2}$ (theory W). On Gaussian data of variance $v$ an error in
$x / \sigma$ made at $\sigma$ reaches the end multiplied by $(\sigma^{-2} + v^{-1})^{-1/2}$: p = 2 with the knee at the scale of the data
is exact there.
"""

import math
from dataclasses import dataclass

import numpy as np

from worker.ays.profile.cost import StepCost
from worker.ays.profile.profile import Profile
from worker.ays.solvers import Solver

RATIO_BOUNDS: tuple[float | None, ...] = (2.0, 3.0, 1.5, None)
"""Bounds on `h_i / h_(i-1)` that are tried for multistep solvers; the first is the default."""

_RUNGS = (
    (1.8, math.inf), (2.1, 3.0), (1.8, 6.0), (2.4, 1.5), (2.1, 6.0), (1.4, math.inf), (2.4, 3.0), (2.1, 1.5), (1.8, 3.0), (1.0, math.inf),
    (2.4, 6.0), (1.4, 3.0), (0.6, math.inf), (0.0, math.inf),
)  # fmt: skip
"""Detail and knee, this in multiples of the level where half of the loss is gone, the likeliest first."""


@dataclass(frozen=True)
class Choice:
    """What a schedule is optimized for.

    Attributes:
        detail: exponent p >= 0: 0 is the paper's bound, 2 counts the error in the sample.
        knee: noise level above which errors count alike, > 0; inf: none.
        ratio_bound: largest allowed `h_i / h_(i-1)` of successive steps, `h = ln(sigma_i / sigma_(i+1))`; None: any.
    """

    detail: float
    knee: float = math.inf
    ratio_bound: float | None = None

    def cost(self, profile: Profile, solver: Solver) -> StepCost:
        """Cost of a solver's steps in this weight (theory W)."""
        return StepCost(profile, solver, detail=self.detail, knee=self.knee)


def halfway(profile: Profile) -> float:
    """Noise level below which less than half of the loss at the highest level is left: the scale of the data, in units of sigma."""
    loss = np.diag(profile.moments)
    return float(profile.levels[int(np.argmax(loss <= loss[0] / 2))])


def default_choice(profile: Profile, solver: Solver) -> Choice:
    """What is optimized for where nothing was validated: near the best on every model tried (docs/results)."""
    bound = RATIO_BOUNDS[0] if solver.multistep else None
    if solver.multistep and not solver.stochastic:
        return Choice(1.8, ratio_bound=bound)
    return Choice(2.1, (3.0 if profile.measure == "forward" else 1.5) * halfway(profile), bound)


def rungs(profile: Profile, solver: Solver) -> list[Choice]:
    """Every weight that the ladder tries at the solver's default bound, the default first."""
    first = default_choice(profile, solver)
    found = [Choice(detail, knee * halfway(profile), first.ratio_bound) for detail, knee in _RUNGS]
    return [first, *(choice for choice in found if choice != first)]
