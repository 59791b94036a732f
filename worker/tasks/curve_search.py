"""A loss curve in, its whole table of first-order schedules out: no model is run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np

from ays_client.contract import BOUND_OF_A_CURVE, NFE_MAX, NFE_MIN, OF_A_CURVE, Effort, JobRequest, Method, Solver
from ays_client.contract import Terminal as TerminalName
from ays_client.curve import LossCurve
from worker.ays.noise import EDM, VE, Array, Flow, NoiseProcess
from worker.ays.profile.curve import Curve, entropic
from worker.ays.profile.profile import Profile, log_grid
from worker.ays.schedule import Terminal
from worker.ays.search.weight import ErrorWeight, default_weight
from worker.ays.solvers import SOLVERS
from worker.tasks.answer import Origin, Place, of_curve
from worker.tasks.measure import span_within
from worker.tasks.outcome import Outcome
from worker.tasks.stages import Stages
from worker.tasks.table import Optimizer

_METHOD = SOLVERS["sddim"]
"""The solver whose bound a curve decides."""


@dataclass(frozen=True)
class CurveSubject:
    """What the schedules of a curve say of their model."""

    id: str
    process: NoiseProcess
    prediction_type: None = None
    guidance_scale: None = None

    @property
    def fingerprint(self) -> str:
        """The curve's own content address."""
        return self.id


def schedules_of(request: JobRequest, body: LossCurve, stages: Stages) -> Outcome:
    """Compute the requested schedule and the table.

    Args:
        request: what is asked for; its model is the curve.
        body: the curve.
        stages: where progress goes.

    Raises:
        RangeError: the request asks for noise levels that the curve does not have.
    """
    stages.enter("table")
    rising = body.rising()
    subject = CurveSubject(rising.id, _process(rising))
    span = span_within(request.variant, subject.process, f"curve {rising.id!r}")
    curve = Curve.fitted(np.array(rising.sigma), np.array(rising.loss))
    origin = Origin(request.variant, subject, *span, method=request.method)
    profile = curve.profile(log_grid(*span, request.grid))
    weight = None if request.method is Method.ENTROPIC else _weight(request, profile)
    schedules = []
    for terminal in get_args(Terminal):
        levels = _levels(curve, profile, span, terminal, weight)
        for nfe in range(NFE_MIN, NFE_MAX + 1):
            for solver in OF_A_CURVE:
                wanted = (nfe, solver, terminal) == (request.nfe, request.solver, request.terminal.value)
                if wanted or not request.chosen:
                    place = Place(nfe, solver, TerminalName(terminal))
                    candidate, effort = _candidate(request.method, solver), Effort.FAST if wanted else None
                    schedules.append(of_curve(origin, levels(nfe), place, weight=weight, candidate=candidate, effort=effort))
    stages.enter("store")
    asked = (request.nfe, request.solver, request.terminal)
    requested = next(each for each in schedules if (each.nfe, each.solver, each.terminal) == asked)
    return Outcome(None, schedules, requested, None)


def _weight(request: JobRequest, profile: Profile) -> ErrorWeight:
    return default_weight(profile, _METHOD) if request.detail == "auto" else ErrorWeight(request.detail)


def _levels(
    curve: Curve, profile: Profile, span: tuple[float, float], terminal: Terminal, weight: ErrorWeight | None
) -> Callable[[int], Array]:
    """Levels by number of steps."""
    if weight is None:
        return lambda steps: entropic(curve, steps, sigma_max=span[0], sigma_min=span[1], terminal=terminal)
    optimizer = Optimizer(profile, _METHOD, terminal, weight, steps_max=NFE_MAX)
    found: dict[int, Array] = {}

    def levels(steps: int) -> Array:
        if steps not in found:
            found[steps] = optimizer.levels(steps)
        return found[steps]

    return levels


def _candidate(method: Method, solver: Solver) -> str:
    """What the levels minimize; the bound is that of sddim, and first-order ODE solvers borrow its optimum."""
    if method is Method.ENTROPIC:
        return "entropic"
    return "bound" if solver in BOUND_OF_A_CURVE else "bound of sddim"


def _process(curve: LossCurve) -> NoiseProcess:
    low, high = curve.sigma[0], curve.sigma[-1]
    match curve.kind:
        case "edm":
            return EDM(sigma_min=low, sigma_max=high)
        case "flow":
            return Flow(sigma_min=low, sigma_max=high)
    return VE(sigma_min=low, sigma_max=high)
