"""From a request to its outcome: measure the model once, guard the table, search for what was asked for, report its error."""

from collections.abc import Callable

from ays_client.contract import Effort, JobRequest, Method, Schedule
from ays_client.curve import LossCurve
from worker.ays.denoise import Evaluator
from worker.ays.search.candidates import Candidate
from worker.ays.search.operations import operations_per_evaluation
from worker.ays.search.stability import trust
from worker.ays.search.weight import ErrorWeight, default_weight
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks.answer import Origin, Place, unvalidated, validated
from worker.tasks.bound import klub_of
from worker.tasks.curve_search import schedules_of
from worker.tasks.guard import Guard
from worker.tasks.journal import Journal
from worker.tasks.measure import Measured, level_range, measure, measure_shard, planned_evaluations
from worker.tasks.outcome import Outcome
from worker.tasks.paper_search import PaperSearch
from worker.tasks.samples import sample_grid
from worker.tasks.stages import Host, Stages
from worker.tasks.table import Cell, Optimizer, rows
from worker.tasks.validation import Validation

BATCH = 256
"""Samples in one call of the denoiser, at most."""
CHEAP_OPERATIONS = 10**7
"""Floating-point operations of an evaluation up to which thirty thousand of them are seconds."""


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
    measured = measure(request.variant, model, denoise, host, elsewhere=stages.elsewhere)
    answer = _Answer(request, model, measured, denoise, stages)
    requested = answer.requested()
    stages.enter("table")
    schedules = [*answer.table(host.validated()), requested]
    stages.enter("store")
    return Outcome(measured.info if measured.new else None, schedules, requested, sample_grid(requested, model, denoise))


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


class _Answer:
    """The requested cell and the table of one job."""

    def __init__(self, request: JobRequest, model: LoadedModel, measured: Measured, denoise: Evaluator, stages: Stages) -> None:
        self._request, self._model, self._measured, self._denoise, self._stages = request, model, measured, denoise, stages
        levels = measured.info.levels
        self._origin = Origin(request.variant, model, sigma_max=levels[0], sigma_min=levels[-1], profile=measured.info)
        self._solver = SOLVERS[request.solver]
        self._profile = measured.of(self._solver.measure)

    def requested(self) -> Schedule:
        """What was asked for: searched and reported; at effort `fast` the optimum, guarded; of a given weight its optimum, reported."""
        request, solver = self._request, self._solver
        place = Place(request.nfe, request.solver, request.terminal)
        validation = Validation(request, self._model, self._profile, self._denoise, self._stages, paths=self._measured.paths)
        if request.detail == "auto" and (solver.fitted or request.effort is not Effort.FAST):
            answer = validation.search()
            weight = answer.candidate.weight
            trusted = None if weight is None or solver.fitted else trust(self._profile, solver, weight, answer.levels)
            bound = klub_of(self._measured.forward, solver, answer.levels, validation.stock())
            return validated(self._origin, answer, place, effort=request.effort, trusted=trusted, klub=bound)
        weight = self._weight()
        levels = Optimizer(self._profile, solver, request.terminal.value, weight, steps_max=request.steps).levels(request.steps)
        trusted, bound = trust(self._profile, solver, weight, levels), klub_of(self._measured.forward, solver, levels, validation.stock())
        if request.effort is not Effort.FAST:
            answer = validation.check(Candidate("optimized", levels, weight))
            return validated(self._origin, answer, place, effort=request.effort, trusted=trusted, klub=bound)
        cell = Cell(solver, request.terminal.value, request.nfe, levels, weight)
        if request.detail == "auto":
            self._stages.enter("guard")
            cell = self._guard().cell(cell)
        return unvalidated(self._origin, cell, effort=Effort.FAST, trusted=trusted, klub=bound)

    def table(self, known: list[Schedule] | None) -> list[Schedule]:
        """Every other cell of a new profile, guarded: the requested solver's row, and where evaluations are cheap all rows.

        Args:
            known: validated schedules of the same profile, whose cells stay as they are; None: no table is wanted.
        """
        if known is None or not self._measured.new:
            return []
        request, cheap, found = self._request, self._cheap(), []
        taken = {(each.solver.value, each.terminal.value, each.nfe) for each in known}
        taken.add((request.solver.value, request.terminal.value, request.nfe))
        guarded: dict[object, list[Cell]] = {}
        self._stages.enter("guard")
        for row in rows(self._measured):
            first = row[0]
            key = (first.solver.measure, tuple(tuple(cell.levels) for cell in row[:3]), first.terminal)
            if not first.solver.fitted and first.terminal == "zero" and (cheap or first.solver.name == request.solver.value):
                if key not in guarded:
                    guarded[key] = self._guard(first.solver.measure).row(row)
                row = [cell.of(mine) for cell, mine in zip(guarded[key], row, strict=True)]
            found += [cell for cell in row if (cell.solver.name, cell.terminal, cell.nfe) not in taken]
        return [unvalidated(self._origin, cell, effort=None) for cell in found]

    def _weight(self) -> ErrorWeight:
        default = default_weight(self._profile, self._solver)
        return default if self._request.detail == "auto" else ErrorWeight(self._request.detail, ratio_bound=default.ratio_bound)

    def _guard(self, measure: str | None = None) -> Guard:
        profile = self._profile if measure is None else self._measured.of("forward" if measure == "forward" else "flow")
        return Guard(profile, self._model.process, self._denoise, self._request.seed, self._measured.paths)

    def _cheap(self) -> bool:
        """Whether evaluations cost so little that the rows of all solvers are guarded, not the requested one's alone."""
        return operations_per_evaluation(self._denoise) <= CHEAP_OPERATIONS
