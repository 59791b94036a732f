r"""What a schedule is optimized for: the weight of errors by noise level, and a bound on the ratio of successive steps.

The weight is $w(\sigma) = (\sigma^{-2} + \kappa^{-2})^{-p/2}$ (theory W). On Gaussian data of variance $v$ an error in
$x / \sigma$ made at $\sigma$ reaches the end multiplied by $(\sigma^{-2} + v^{-1})^{-1/2}$: p = 2 with the cutoff at the scale of the data
is exact there.
"""

import math
from dataclasses import dataclass

import numpy as np

from worker.ays.profile.cost import StepCost
from worker.ays.profile.profile import Profile
from worker.ays.solvers import Solver

RATIO_BOUNDS: tuple[float | None, ...] = (2.0, 3.0, 1.5, None)
"""Bounds on `h_i / h_(i-1)` of multistep solvers, the default first. A long step after a short one has weights that amplify earlier
errors, which a sum of costs along the true path does not see: 2 keeps those of 2M between -1/2 and 2."""

EXPONENTS = (1.8, 2.1, 1.4, 2.4, 1.0, 0.6, 0.0)
"""Exponents p of the candidates: 2 counts the error in the sample, 0 is the paper's bound; in between early errors count less."""
CUTOFFS = (math.inf, 6.0, 3.0, 1.5)
"""Cutoffs of the candidates with p > 1, in multiples of the level where half of the loss is gone: what is missed above is forgotten."""


@dataclass(frozen=True)
class ErrorWeight:
    """What a schedule is optimized for.

    Attributes:
        exponent: p >= 0: 0 is the paper's bound, 2 counts the error in the sample.
        cutoff: noise level above which errors count alike, > 0; inf: none.
        ratio_bound: largest allowed `h_i / h_(i-1)` of successive steps, `h = ln(sigma_i / sigma_(i+1))`; None: any.
    """

    exponent: float
    cutoff: float = math.inf
    ratio_bound: float | None = None

    def cost(self, profile: Profile, solver: Solver) -> StepCost:
        """Cost of a solver's steps in this weight (theory W)."""
        return StepCost(profile, solver, exponent=self.exponent, cutoff=self.cutoff)


def halfway(profile: Profile) -> float:
    """Noise level below which less than half of the loss at the highest level is left: the scale of the data, in units of sigma."""
    loss = np.diag(profile.moments)
    return float(profile.levels[int(np.argmax(loss <= loss[0] / 2))])


def default_weight(profile: Profile, solver: Solver) -> ErrorWeight:
    """What is optimized for where nothing was validated (docs/theory.md, section 8)."""
    bound = RATIO_BOUNDS[0] if solver.multistep else None
    if solver.multistep and not solver.stochastic:
        return ErrorWeight(1.8, ratio_bound=bound)
    return ErrorWeight(2.1, (3.0 if profile.measure == "forward" else 1.5) * halfway(profile), bound)


def weight_grid(profile: Profile, solver: Solver) -> list[ErrorWeight]:
    """Every weight that has a candidate, at the solver's default bound, the default first."""
    first, scale = default_weight(profile, solver), halfway(profile)
    pairs = [(p, cutoff) for p in EXPONENTS for cutoff in (CUTOFFS if p > 1 else CUTOFFS[:1])]
    found = [ErrorWeight(p, cutoff * scale, first.ratio_bound) for p, cutoff in pairs]
    return [first, *(weight for weight in found if weight != first)]
