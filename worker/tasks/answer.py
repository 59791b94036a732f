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
    Method,
    ProfileInfo,
    Provenance,
    Schedule,
    Solver,
    Source,
    Sweep,
    Terminal,
    Variant,
    identity,
)
from ays_client.formats import links
from worker.ays.choice import Choice
from worker.ays.noise import Array, NoiseProcess
from worker.ays.profile.stability import Trust
from worker.ays.validate import Mean, estimate
from worker.tasks.table import Cell
from worker.tasks.validation import Verdict

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


def unvalidated(origin: Origin, cell: Cell, *, effort: Effort | None, trusted: Trust | None = None) -> Schedule:
    """Body of a table cell that no noise has judged."""
    return unjudged(
        origin,
        cell.levels,
        Place(cell.nfe, Solver(cell.solver.name), Terminal(cell.terminal)),
        choice=cell.choice,
        effort=effort,
        trusted=trusted,
    )


def unjudged(
    origin: Origin,
    levels: Array,
    place: Place,
    *,
    choice: Choice | None = None,
    candidate: str | None = None,
    effort: Effort | None = None,
    trusted: Trust | None = None,
) -> Schedule:
    """Body of a schedule that no noise has judged."""
    provenance = _provenance(origin, choice=choice, candidate=candidate, effort=effort, trusted=trusted)
    return _schedule(origin, levels, place, source=Source.OPTIMIZED, error=None, provenance=provenance)


def validated(
    origin: Origin, verdict: Verdict, place: Place, *, effort: Effort, sweeps: list[Sweep] | None = None, trusted: Trust | None = None
) -> Schedule:
    """Body of a validated cell, with the record of its search if there is one."""
    candidate = verdict.candidate
    provenance = _provenance(
        origin,
        choice=candidate.choice,
        effort=effort,
        candidate=candidate.name,
        refined=verdict.refined,
        evaluations=verdict.evaluations,
        sweeps=sweeps,
        trusted=trusted,
    )
    source = Source.STOCK if candidate.stock and not verdict.refined else Source.OPTIMIZED
    return _schedule(origin, verdict.levels, place, source=source, error=_error(verdict), provenance=provenance)


def _error(verdict: Verdict) -> Error:
    stock = {name: mean_of(errors) for name, errors in verdict.stock.items()}
    best = min(verdict.stock.values(), key=lambda errors: float(errors.mean()))
    ratio = float(np.median(verdict.errors / best)) if np.all(best > 0) else None
    return Error(ours=mean_of(verdict.errors), stock=stock, noises=len(verdict.errors), median_pair_ratio=ratio)


def mean_of(values: Array) -> Estimate:
    """Mean of independent values, shape (n,), as a body."""
    return _estimate(estimate(values))


def _estimate(found: Mean) -> Estimate:
    return Estimate(mean=found.mean, standard_error=found.standard_error)


def _provenance(
    origin: Origin,
    *,
    choice: Choice | None,
    effort: Effort | None,
    candidate: str | None = None,
    refined: bool = False,
    evaluations: int = 0,
    sweeps: list[Sweep] | None = None,
    trusted: Trust | None = None,
) -> Provenance:
    profile = origin.profile
    return Provenance(
        method=origin.method,
        profile=None if profile is None else profile.id,
        detail=None if choice is None else choice.detail,
        knee=None if choice is None or math.isinf(choice.knee) else choice.knee,
        ratio_bound=None if choice is None else choice.ratio_bound,
        candidate=candidate,
        refined=refined,
        effort=effort,
        evaluations=evaluations,
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
    place: Place,
    *,
    source: Source,
    error: Error | None,
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
        source=source,
        validated=error is not None,
        error=error,
        provenance=provenance,
    )
    address = identity(body)
    return body.model_copy(update={"id": address, "formats": links(f"/v1/schedules/{address}", body)})


def _integers(times: Array) -> list[int] | None:
    rounded = np.round(times).astype(int)
    return rounded.tolist() if np.all(np.diff(rounded) < 0) else None
