"""From a request to its outcome: measure the model once, guard the table, search for what was asked for, report its error."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from ays_client.contract import Effort, JobRequest, Method, Schedule
from ays_client.curve import LossCurve
from worker.ays.denoise import Evaluator
from worker.ays.profile.profile import Measure
from worker.ays.search.candidates import Candidate
from worker.ays.search.operations import operations_per_evaluation
from worker.ays.search.stability import trust
from worker.ays.search.weight import ErrorWeight, default_weight
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks.answer import Origin, Place, unvalidated, validated
from worker.tasks.bound import Bounds
from worker.tasks.curve_search import schedules_of
from worker.tasks.guard import Guard
from worker.tasks.journal import Journal
from worker.tasks.measure import Measured, level_range, measure, measure_shard, planned_evaluations
from worker.tasks.outcome import Outcome
from worker.tasks.paper_search import PaperSearch
from worker.tasks.samples import sample_grid
from worker.tasks.stages import Host, Stages
from worker.tasks.table import Cell, Optimizer, row, rows
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
    answer, known = _Answer(request, model, measured, denoise, stages), host.validated()
    if measured.new and known is not None:
        host.publish(measured.info, answer.table(known))
    requested = answer.requested()
    stages.enter("store")
    return Outcome(None, [*answer.fast_row, requested], requested, sample_grid(requested, model, denoise))


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
        self._profile, self._bounds = measured.of(self._solver.measure), Bounds(measured.forward)

    def requested(self) -> Schedule:
        """What was asked for: searched and reported; at effort `fast` the guarded optimum; of a given weight its optimum, reported."""
        request, solver = self._request, self._solver
        if request.detail == "auto" and request.effort is Effort.FAST and not solver.fitted:
            return next(each for each in self.fast_row if each.nfe == request.nfe)
        validation = Validation(request, self._model, self._profile, self._denoise, self._stages, paths=self._measured.paths)
        if request.detail == "auto":
            answer = validation.search()
        else:
            asked = ErrorWeight(request.detail, ratio_bound=default_weight(self._profile, solver).ratio_bound)
            levels = Optimizer(self._profile, solver, request.terminal.value, asked, steps_max=request.steps).levels(request.steps)
            answer = validation.check(Candidate("optimized", levels, asked))
        weight, place = answer.candidate.weight, Place(request.nfe, request.solver, request.terminal)
        trusted = None if weight is None or solver.fitted else trust(self._profile, solver, weight, answer.levels)
        bound = self._bounds.of(solver, answer.levels, answer.stock)
        data = self._model.data_range
        return validated(self._origin, answer, place, effort=request.effort, trusted=trusted, klub=bound, data_range=data)

    @cached_property
    def fast_row(self) -> list[Schedule]:
        """The guarded row that answers a request of effort `fast`, the same whatever is stored; empty where nobody asks for it."""
        request, solver = self._request, self._solver
        if request.effort is not Effort.FAST or request.detail != "auto" or solver.fitted:
            return []
        self._stages.enter("guard")
        return self._bodies(self._guard(solver.measure).row(row(self._measured, solver, request.terminal.value)))

    def table(self, known: list[Schedule]) -> list[Schedule]:
        """Every cell of a new profile, guarded: the requested solver's row, and where evaluations are cheap all rows.

        Args:
            known: validated schedules of the same profile, whose cells stay as they are.
        """
        self._stages.enter("table")
        request, cheap, found = self._request, self._cheap(), []
        taken = {(each.solver, each.terminal, each.nfe) for each in known}
        for alike in rows(self._measured):
            first = alike[0][0]
            mine = request.solver.value in [cells[0].solver.name for cells in alike] and request.terminal.value == first.terminal
            guarded = not first.solver.fitted and (mine or (cheap and first.terminal == "zero"))
            served = self._guard(first.solver.measure).row(alike[0]) if guarded else alike[0]
            for cells in alike:
                found += self._bodies([replace(cell, solver=own.solver) for cell, own in zip(served, cells, strict=True)])
        return [each for each in found if (each.solver, each.terminal, each.nfe) not in taken]

    def _bodies(self, cells: list[Cell]) -> list[Schedule]:
        """Cells as they are served: a guard is what effort `fast` asks for."""
        bounds = self._bounds.row(cells)
        efforts = [Effort.FAST if cell.guarded else None for cell in cells]
        return [
            unvalidated(self._origin, cell, effort=effort, klub=bound) for cell, effort, bound in zip(cells, efforts, bounds, strict=True)
        ]

    def _guard(self, measure: Measure) -> Guard:
        profile = self._measured.of(measure)
        return Guard(profile, self._model.process, self._denoise, self._request.seed, self._measured.paths)

    def _cheap(self) -> bool:
        """Whether evaluations cost so little that the rows of all solvers are guarded, not the requested one's alone."""
        return operations_per_evaluation(self._denoise) <= CHEAP_OPERATIONS
