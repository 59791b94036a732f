"""From levels to the body of the answer: native times, errors, provenance, content address."""

import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple, Protocol

import numpy as np

from ays_client.contract import (
    Effort,
    Error,
    Estimate,
    Klub,
    Method,
    ProfileInfo,
    Provenance,
    Ratio,
    Schedule,
    Solver,
    Source,
    Sweep,
    Terminal,
    Variant,
    identity,
)
from ays_client.formats import links
from worker.ays.noise import Array, NoiseProcess
from worker.ays.search.report import Report
from worker.ays.search.stability import Trust
from worker.ays.search.statistics import Mean, estimate, mean_interval, ratio_interval
from worker.ays.search.weight import ErrorWeight
from worker.tasks.table import Cell
from worker.tasks.validation import Validated

_CODE_VERSION = version("align-your-steps-service")


class Place(NamedTuple):
    """A cell of the table."""

    nfe: int
    solver: Solver
    terminal: Terminal


class Subject(Protocol):
    """What a schedule says of the model it is for."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def fingerprint(self) -> str:
        """Its weights."""

    @property
    def process(self) -> NoiseProcess:
        """Its native time."""

    @property
    def prediction_type(self) -> str | None:
        """What its network predicts."""

    @property
    def guidance_scale(self) -> float | None:
        """Guidance that is part of it."""


@dataclass(frozen=True)
class Origin:
    """What all schedules of a job share.

    Attributes:
        variant: what was measured.
        subject: the model.
        sigma_max: highest level.
        sigma_min: lowest level that is evaluated.
        method: how they were found.
        profile: the profile they come from, if they do.
    """

    variant: Variant
    subject: Subject
    sigma_max: float
    sigma_min: float
    method: Method = Method.PROFILE
    profile: ProfileInfo | None = None


def unvalidated(origin: Origin, cell: Cell, *, effort: Effort | None, klub: Klub | None = None) -> Schedule:
    """Body of a table cell without a report."""
    provenance = _provenance(origin, weight=cell.weight, effort=effort, candidate=cell.stock, reason=cell.reason)
    place = Place(cell.nfe, Solver(cell.solver.name), Terminal(cell.terminal))
    source = Source.OPTIMIZED if cell.stock is None else Source.STOCK
    return _schedule(origin, cell.levels, cell.weights, place, source=source, error=None, klub=klub, provenance=provenance)


def of_curve(origin: Origin, levels: Array, place: Place, *, weight: ErrorWeight | None, candidate: str, effort: Effort | None) -> Schedule:
    """Body of a schedule that a loss curve, or the paper's search of another cell, decided."""
    provenance = _provenance(origin, weight=weight, candidate=candidate, effort=effort)
    return _schedule(origin, levels, None, place, source=Source.OPTIMIZED, error=None, klub=None, provenance=provenance)


def validated(
    origin: Origin,
    answer: Validated,
    place: Place,
    *,
    effort: Effort,
    sweeps: list[Sweep] | None = None,
    trusted: Trust | None = None,
    klub: Klub | None = None,
    data_range: tuple[float, float] | None = None,
) -> Schedule:
    """Body of an answer with its report, and the record of its search if there is one."""
    candidate, report = answer.candidate, answer.report
    provenance = _provenance(
        origin,
        weight=candidate.weight,
        effort=effort,
        candidate=candidate.name,
        refined=answer.improved,
        evaluations=answer.evaluations,
        report_evaluations=0 if report is None else report.evaluations,
        sweeps=sweeps,
        trusted=trusted,
        reason=answer.reason,
    )
    source = Source.STOCK if candidate.stock and not answer.improved else Source.OPTIMIZED
    error = None if report is None else error_of(report, data_range)
    return _schedule(origin, candidate.levels, candidate.weights, place, source=source, error=error, klub=klub, provenance=provenance)


def error_of(report: Report, data_range: tuple[float, float] | None = None) -> Error:
    """Errors of a report as a body; with the range of the data's values in decibels, too."""
    best = report.stock.get(report.best_stock)
    comparable = best is not None and bool(np.all(best > 0)) and bool(report.ours.mean() > 0)
    ratio = None
    if best is not None and comparable:
        ratio = Ratio(value=float(report.ours.mean() / best.mean()), interval=ratio_interval(report.ours, best))
    return Error(
        ours=mean_of(report.ours),
        stock={name: mean_of(errors) for name, errors in report.stock.items()},
        noises=len(report.ours),
        best_stock=report.best_stock,
        best_stock_sigmas=report.best_levels.tolist(),
        ratio=ratio,
        median_ratio=float(np.median(report.ours / best)) if best is not None and comparable else None,
        reference_error=report.reference_error,
        psnr_db=None if data_range is None else _decibels(report, data_range),
        equivalent_nfe=report.equivalent or None,
    )


def _decibels(report: Report, data_range: tuple[float, float]) -> float | None:
    """Peak signal-to-noise ratio of the mean squared error of a value; None where there is no error."""
    error, (low, high) = float(report.ours.mean()) / report.dim, data_range
    return 10 * math.log10((high - low) ** 2 / error) if error > 0 else None


def mean_of(values: Array) -> Estimate:
    """Mean of independent non-negative values, shape (n,), with its interval and the median, as a body."""
    found = estimate(values)
    return Estimate(mean=found.mean, standard_error=found.standard_error, interval=mean_interval(values), median=float(np.median(values)))


def _estimate(found: Mean) -> Estimate:
    return Estimate(mean=found.mean, standard_error=found.standard_error)


def _provenance(
    origin: Origin,
    *,
    weight: ErrorWeight | None,
    effort: Effort | None,
    candidate: str | None = None,
    refined: bool = False,
    evaluations: int = 0,
    report_evaluations: int = 0,
    sweeps: list[Sweep] | None = None,
    trusted: Trust | None = None,
    reason: str | None = None,
) -> Provenance:
    profile = origin.profile
    return Provenance(
        method=origin.method,
        profile=None if profile is None else profile.id,
        detail=None if weight is None else weight.exponent,
        knee=None if weight is None or math.isinf(weight.cutoff) else weight.cutoff,
        ratio_bound=None if weight is None else weight.ratio_bound,
        candidate=candidate,
        refined=refined,
        reason=reason,
        effort=effort,
        evaluations=evaluations,
        report_evaluations=report_evaluations,
        profile_evaluations=0 if profile is None else profile.evaluations,
        cost=None if trusted is None or math.isinf(trusted.cost.standard_error) else _estimate(trusted.cost),
        regret=None if trusted is None or math.isinf(trusted.regret) else trusted.regret,
        stable=None if trusted is None or math.isinf(trusted.regret) else trusted.stable,
        contradictions=[] if profile is None else profile.contradictions,
        seed=origin.variant.seed,
        sweeps=sweeps,
        code_version=_CODE_VERSION,
    )


def _schedule(
    origin: Origin,
    levels: Array,
    weights: Array | None,
    place: Place,
    *,
    source: Source,
    error: Error | None,
    klub: Klub | None,
    provenance: Provenance,
) -> Schedule:
    model, process = origin.subject, origin.subject.process
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
        sigma_min=origin.sigma_min,
        sigma_max=origin.sigma_max,
        prediction_type=model.prediction_type,
        guidance_scale=model.guidance_scale,
        weights=None if weights is None else [row[: min(step + 1, len(row))].tolist() for step, row in enumerate(weights)],
        source=source,
        validated=error is not None,
        error=error,
        klub=klub,
        provenance=provenance,
    )
    address = identity(body)
    return body.model_copy(update={"id": address, "formats": links(f"/v1/schedules/{address}", body)})


def _integers(times: Array) -> list[int] | None:
    rounded = np.round(times).astype(int)
    return rounded.tolist() if np.all(np.diff(rounded) < 0) else None
