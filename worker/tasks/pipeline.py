"""The pipeline: request and model in; profile, table and the requested schedule out. It knows neither Redis nor HTTP."""

from collections.abc import Callable
from functools import partial

from ays_client.contract import Effort, JobRequest, Method, Schedule
from ays_client.curve import LossCurve
from worker.ays.choice import Choice, default_choice
from worker.ays.denoise import Evaluator
from worker.ays.ladder import Candidate
from worker.ays.profile.profile import Profile
from worker.ays.profile.stability import STABLE, regret, trust
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks.answer import Origin, Place, unvalidated, validated
from worker.tasks.curve_search import schedules_of
from worker.tasks.journal import Journal
from worker.tasks.measure import Measured, level_range, measure, measure_shard, planned_evaluations
from worker.tasks.outcome import Outcome
from worker.tasks.paper_search import PaperSearch
from worker.tasks.samples import sample_grid
from worker.tasks.stages import Host, Stages
from worker.tasks.table import Cell, Optimizer, nearest_choice, table
from worker.tasks.validation import Validator

BATCH = 256
"""Samples in one call of the denoiser, at most."""


def optimize(request: JobRequest, model: LoadedModel | LossCurve, host: Host) -> Outcome:
    """Measure the model once, unless that is done, and find the requested schedule and the whole table.

    Args:
        request: what is asked for.
        model: the model, loaded and probed; or the loss curve that stands for one.
        host: where this runs.

    Raises:
        RangeError: the request asks for noise levels that the model does not have.
        ModelError: the request asks for a guidance scale of a model that has none.
        DenoiserError: the model returned something that no schedule can be computed from.
    """
    stages = Stages(host)
    if isinstance(model, LossCurve):
        return schedules_of(request, model, stages)
    model = model.at_guidance(request.guidance_scale)
    level_range(request.variant, model)
    denoise = Evaluator(model.denoiser, batch=BATCH, on_batch=stages.evaluated)
    if request.method is Method.PAPER:
        journal = Journal(host, fingerprint=model.fingerprint, denoise=denoise, stages=stages)
        return PaperSearch(request, model, denoise, stages, journal).outcome()
    stages.enter("profile", planned_evaluations(request.variant))
    measured = measure(request.variant, model, denoise, host, enough=partial(stable, request), elsewhere=stages.elsewhere)
    levels = measured.info.levels
    origin = Origin(request.variant, model, sigma_max=levels[0], sigma_min=levels[-1], profile=measured.info)
    known = host.validated()
    profile = measured.of(SOLVERS[request.solver].measure)
    requested = _requested(request, origin, profile, partial(Validator, request, model, profile, denoise, stages), known)
    stages.enter("table")
    cells = [unvalidated(origin, cell, effort=None) for cell in _table(request, requested, measured, known)]
    stages.enter("store")
    return Outcome(measured.info if measured.new else None, [*cells, requested], requested, sample_grid(requested, model, denoise))


def shard(request: JobRequest, model: LoadedModel, name: str, on_batch: Callable[[int], None]) -> str:
    """Measure a shard of a request's profile, for another process that answers the request.

    Args:
        request: what is asked for.
        model: the model, loaded and probed, of the same weights as there.
        name: the shard, as that process has named it.
        on_batch: called after each batch with the number of evaluations so far; it may raise to stop.

    Returns:
        Its JSON.

    Raises:
        ValueError: what `optimize` would raise there.
    """
    model = model.at_guidance(request.guidance_scale)
    return measure_shard(request.variant, model, Evaluator(model.denoiser, batch=BATCH, on_batch=on_batch), name)


def _requested(
    request: JobRequest, origin: Origin, profile: Profile, validator: Callable[[], Validator], known: list[Schedule]
) -> Schedule:
    solver = SOLVERS[request.solver]
    place = Place(request.nfe, request.solver, request.terminal)
    if request.effort is not Effort.FAST and request.detail == "auto":
        verdict = validator().search()
        choice, levels = verdict.candidate.choice, verdict.levels
        trusted = None if choice is None else trust(profile, solver, choice, levels)
        return validated(origin, verdict, place, effort=request.effort, trusted=trusted)
    choice = _choice(request, profile, known)
    levels = Optimizer(profile, solver, request.terminal.value, choice, steps_max=request.steps).levels(request.steps)
    trusted = trust(profile, solver, choice, levels)
    if request.effort is Effort.FAST:
        cell = Cell(solver, request.terminal.value, request.nfe, levels, choice)
        return unvalidated(origin, cell, effort=Effort.FAST, trusted=trusted)
    verdict = validator().check(Candidate("optimized", levels, choice))
    return validated(origin, verdict, place, effort=request.effort, trusted=trusted)


def stable(request: JobRequest, flow: Profile, forward: Profile) -> bool:
    """Whether the requested schedule would hardly change with more paths."""
    solver = SOLVERS[request.solver]
    profile = forward if solver.measure == "forward" else flow
    choice = _choice(request, profile, [])
    return regret(profile, solver, choice, request.steps, to_zero=request.terminal.value == "zero") <= STABLE


def _choice(request: JobRequest, profile: Profile, known: list[Schedule]) -> Choice:
    solver = SOLVERS[request.solver]
    if request.detail == "auto":
        return nearest_choice(profile, solver, request.terminal.value, request.nfe, known)
    return Choice(request.detail, ratio_bound=default_choice(profile, solver).ratio_bound)


def _table(request: JobRequest, requested: Schedule, measured: Measured, known: list[Schedule]) -> list[Cell]:
    """Every cell but the requested one; of a stored profile only the row whose nearest validated cell may have changed."""
    judged = [*known, requested] if requested.validated and request.detail == "auto" else known
    if not measured.new and judged is known:
        return []
    taken = {(cell.solver.value, cell.terminal.value, cell.nfe) for cell in judged}
    row = None if measured.new else request.solver
    return [cell for cell in table(measured, judged, solver=row) if (cell.solver.name, cell.terminal, cell.nfe) not in taken]
