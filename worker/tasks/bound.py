"""The KL upper bound of a schedule and of hand-made ones, read off a profile: what Align Your Steps minimizes (p = 0)."""

from collections.abc import Sequence

from ays_client.contract import Estimate, Klub
from worker.ays.noise import Array
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate
from worker.ays.search.stability import cost_of
from worker.ays.search.weight import ErrorWeight
from worker.ays.solvers import SDE, SOLVERS, Solver

_PAPER = ErrorWeight(0.0)


def klub_of(forward: Profile, solver: Solver, levels: Array, stock: Sequence[Candidate]) -> Klub:
    """Bound of a schedule, with the standard error that the profile's paths give.

    It is the solver's own where the solver's noise is that of the reverse SDE, else that of stochastic DDIM, the paper's.

    Args:
        forward: moments along forward paths.
        solver: the method.
        levels: the schedule, shape (N + 1,).
        stock: hand-made schedules.
    """
    method = solver if solver.noise is SDE else SOLVERS["sddim"]

    def bound(each: Array) -> Estimate:
        found = cost_of(forward, method, _PAPER, each)
        return Estimate(mean=found.mean, standard_error=min(found.standard_error, 1e300))

    return Klub(ours=bound(levels), stock={each.name: bound(each.levels) for each in stock})
