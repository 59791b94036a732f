"""From levels to the body of the answer: native times, errors, provenance, content address."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from ays_client.contract import Effort, Error, Estimate, Provenance, Schedule, Solver, Source, Terminal, Variant, identity
from ays_client.formats import links
from worker.ays.noise import Array
from worker.ays.validate import estimate
from worker.measure import Measured
from worker.models.loaded import LoadedModel
from worker.table import Cell
from worker.validation import Verdict

_CODE_VERSION = version("align-your-steps-service")


class Place(NamedTuple):
    """A cell of the table."""

    nfe: int
    solver: Solver
    terminal: Terminal


@dataclass(frozen=True)
class Origin:
    """What all schedules of a job share."""

    variant: Variant
    model: LoadedModel
    measured: Measured


def unvalidated(origin: Origin, cell: Cell, *, effort: Effort | None) -> Schedule:
    """Body of a table cell that no noise has judged."""
    provenance = _provenance(origin, detail=cell.choice.detail, ratio_bound=cell.choice.ratio_bound, effort=effort)
    place = Place(cell.nfe, Solver(cell.solver.name), Terminal(cell.terminal))
    return _schedule(origin, cell.levels, place, source=Source.OPTIMIZED, error=None, provenance=provenance)


def validated(origin: Origin, verdict: Verdict, place: Place, *, effort: Effort) -> Schedule:
    """Body of a validated cell."""
    candidate = verdict.candidate
    provenance = _provenance(
        origin,
        detail=candidate.detail,
        ratio_bound=candidate.ratio_bound,
        effort=effort,
        candidate=candidate.name,
        refined=verdict.refined,
        evaluations=verdict.evaluations,
    )
    source = Source.STOCK if candidate.stock and not verdict.refined else Source.OPTIMIZED
    return _schedule(origin, verdict.levels, place, source=source, error=_error(verdict), provenance=provenance)


def _error(verdict: Verdict) -> Error:
    stock = {name: _estimate(errors) for name, errors in verdict.stock.items()}
    best = min(verdict.stock.values(), key=lambda errors: float(errors.mean()))
    ratio = float(np.median(verdict.errors / best)) if np.all(best > 0) else None
    return Error(ours=_estimate(verdict.errors), stock=stock, noises=len(verdict.errors), median_pair_ratio=ratio)


def _estimate(values: Array) -> Estimate:
    found = estimate(values)
    return Estimate(mean=found.mean, standard_error=found.standard_error)


def _provenance(
    origin: Origin,
    *,
    detail: float | None,
    ratio_bound: float | None,
    effort: Effort | None,
    candidate: str | None = None,
    refined: bool = False,
    evaluations: int = 0,
) -> Provenance:
    return Provenance(
        profile=origin.measured.info.id,
        detail=detail,
        ratio_bound=ratio_bound,
        candidate=candidate,
        refined=refined,
        effort=effort,
        evaluations=evaluations,
        profile_evaluations=origin.measured.info.evaluations,
        seed=origin.variant.seed,
        code_version=_CODE_VERSION,
    )


def _schedule(
    origin: Origin,
    levels: Array,
    place: Place,
    *,
    source: Source,
    error: Error | None,
    provenance: Provenance,
) -> Schedule:
    model, process = origin.model, origin.model.process
    times = process.time(levels[:-1])
    body = Schedule(
        id="",
        model=model.id,
        fingerprint=model.fingerprint,
        kind=process.kind,
        nfe=place.nfe,
        steps=len(levels) - 1,
        solver=place.solver,
        terminal=place.terminal,
        sigmas=levels.tolist(),
        t=(levels / (1 + levels)).tolist() if process.kind == "flow" else None,
        timesteps=times.tolist(),
        timesteps_int=_integers(times) if process.kind == "vp" else None,
        sigma_min=float(origin.measured.info.levels[-1]),
        sigma_max=float(origin.measured.info.levels[0]),
        prediction_type=model.prediction_type,
        guidance_scale=model.guidance_scale,
        source=source,
        validated=error is not None,
        error=error,
        provenance=provenance,
    )
    address = identity(body)
    return body.model_copy(update={"id": address, "formats": links(f"/v1/schedules/{address}")})


def _integers(times: Array) -> list[int] | None:
    rounded = np.round(times).astype(int)
    return rounded.tolist() if np.all(np.diff(rounded) < 0) else None
