"""Results: profiles, the schedules computed from them, and the aliases that name those.

A profile and its whole table appear in one transaction with the success of their job. Schedules never change; an alias
(table, solver, terminal, nfe) moves on only to a schedule that at least as much effort went into. A table is that of a variant and a
method: one method never replaces the answers of another.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel
from redis import Redis

from ays_client.contract import (
    Effort,
    JobRequest,
    Method,
    ProfileInfo,
    Schedule,
    Solver,
    Target,
    Terminal,
    Variant,
    identity,
    is_curve,
)
from ays_client.curve import LossCurve
from ays_client.samples import SampleGrid
from ays_store import keys, result_scripts
from ays_store.bodies import pack, unpack
from ays_store.limits import RECORDS_SECONDS
from ays_store.records import text
from ays_store.scripts import Script

_RANKS = {Effort.FAST: 1, Effort.STANDARD: 2, Effort.MAX: 3}


def rank_of(effort: Effort) -> int:
    """How much effort a request asks for: 1, 2 or 3; a schedule that was only copied along has rank 0."""
    return _RANKS[effort]


def table_of(target: Target) -> str:
    """Id of the table that a target is a cell of: the profile's id, or for another method one that begins with it."""
    profile_id = identity(target.variant)
    return profile_id if target.method is Method.PROFILE else f"{profile_id}:{target.method.value}"


class Cell(NamedTuple):
    """What an alias names."""

    schedule_id: str
    rank: int


class TableEntry(BaseModel):
    """What the index of a model's tables holds of one."""

    variant: Variant
    fingerprint: str
    created_at: float

    def of(self, present: bytes | None) -> bool:
        """Whether it was measured with the present weights, as far as they are known."""
        return present is None or self.fingerprint == text(present)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measured variant of a model."""

    profile_id: str
    variant: Variant
    fingerprint: str
    created_at: float


class Results:
    """The results in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._commit = Script(redis, result_scripts.COMMIT)

    def commit(
        self,
        job_id: str,
        token: int,
        *,
        profile: ProfileInfo | None,
        schedules: Sequence[Schedule],
        requested_schedule_id: str,
        samples: SampleGrid | None = None,
    ) -> bool:
        """Stores all that a job has computed and ends it as succeeded, in one transaction; repeating it changes nothing.

        Args:
            job_id: The job.
            token: The attempt.
            profile: The profile, when it was newly measured.
            schedules: The schedules that are new: the whole table, the requested cell alone, or none when it was cached.
            requested_schedule_id: The schedule that answers the job, one of `schedules` or one stored earlier.
            samples: What that schedule does to samples, if it was drawn.

        Returns:
            False when the attempt does not own the job any more; then nothing was written.

        Raises:
            redis.ResponseError: If the requested schedule is neither given nor stored.
        """
        raw = self._redis.hget(keys.job(job_id), "request")
        if raw is None:
            return False
        request = JobRequest.model_validate_json(raw)
        head: list[str | bytes | int] = [job_id, token, requested_schedule_id, table_of(request), request.model]
        head += [*_table_arguments(request, profile, schedules), b"" if samples is None else pack(samples.model_dump_json())]
        for schedule in schedules:
            # What somebody chose answers that request only; the alias is for those who leave it to us.
            alias = not request.chosen or schedule.id != requested_schedule_id
            field = field_of(schedule.solver, schedule.terminal, schedule.nfe) if alias else ""
            head += [schedule.id, pack(schedule.model_dump_json()), field, rank_of_schedule(schedule)]
        return bool(self._commit(*head))

    def profile(self, profile_id: str) -> ProfileInfo | None:
        """Returns a profile."""
        raw = self._redis.get(keys.profile(profile_id))
        return None if raw is None else ProfileInfo.model_validate_json(unpack(raw))

    def profile_json(self, profile_id: str) -> bytes | None:
        """Returns a profile as the JSON it was stored as."""
        raw = self._redis.get(keys.profile(profile_id))
        return None if raw is None else unpack(raw)

    def schedule(self, schedule_id: str) -> bytes | None:
        """Returns a schedule as the JSON it was stored as."""
        raw = self._redis.get(keys.schedule(schedule_id))
        return None if raw is None else unpack(raw)

    def samples(self, schedule_id: str) -> bytes | None:
        """Returns the samples drawn with a schedule as the JSON they were stored as."""
        raw = self._redis.get(keys.samples(schedule_id))
        return None if raw is None else unpack(raw)

    def drawn(self, schedule_ids: Sequence[str]) -> set[str]:
        """Returns those of some schedules that samples were drawn with."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for schedule_id in schedule_ids:
                pipeline.exists(keys.samples(schedule_id))
            return {schedule_id for schedule_id, there in zip(schedule_ids, pipeline.execute(), strict=True) if there}

    def row(self, table: str, *, solver: Solver, terminal: Terminal) -> list[Schedule]:
        """Returns the schedules that the aliases of one solver and terminal name, by rising number of evaluations."""
        cells = self.cells(table)
        ids = [cells[place].schedule_id for place in sorted(cells) if place[:2] == (solver, terminal)]
        return self._schedules(ids)

    def cell(self, table: str, *, solver: Solver, terminal: Terminal, nfe: int) -> Cell | None:
        """Returns what an alias names."""
        raw = self._redis.hget(keys.cells(table), field_of(solver, terminal, nfe))
        return None if raw is None else _cell(raw)

    def cells(self, table: str) -> dict[tuple[Solver, Terminal, int], Cell]:
        """Returns all aliases of a table."""
        found = {}
        for field, raw in self._redis.hgetall(keys.cells(table)).items():
            solver, terminal, nfe = text(field).split(":")
            found[Solver(solver), Terminal(terminal), int(nfe)] = _cell(raw)
        return found

    def validated(self, profile_id: str) -> list[Schedule]:
        """Returns the validated schedules that aliases of a profile name.

        Args:
            profile_id: The profile.
        """
        ids = [cell.schedule_id for cell in self.cells(profile_id).values() if cell.rank > rank_of(Effort.FAST)]
        return self._schedules(ids)

    def _schedules(self, ids: Sequence[str]) -> list[Schedule]:
        stored = self._redis.mget([keys.schedule(schedule_id) for schedule_id in ids]) if ids else []
        return [Schedule.model_validate_json(unpack(raw)) for raw in stored if raw is not None]

    def variants(self, model: str) -> list[Measured]:
        """Returns the variants of a model that have a profile of its present weights: the default one first, then newest first.

        Args:
            model: Id of the model.
        """
        stored, present = self._redis.hgetall(keys.variants(model)), self._redis.hget(keys.FINGERPRINTS, model)
        default = identity(Variant(model=model))
        found = []
        for profile_id, raw in stored.items():
            entry = TableEntry.model_validate_json(raw)
            # The tables of the other methods have no profile.
            if entry.of(present) and text(profile_id) == identity(entry.variant):
                found.append(Measured(profile_id=text(profile_id), **dict(entry)))
        return sorted(found, key=lambda measured: (measured.profile_id != default, -measured.created_at))

    def find(self, request: JobRequest) -> str | None:
        """Returns the id of a stored schedule that answers a request with at least the effort it asks for.

        `fast` asks for no validation: any schedule of the table will do.

        Args:
            request: What is asked for.
        """
        table = None if request.chosen else self.table(request)
        if table is None:
            return None
        cell = self.cell(table, solver=request.solver, terminal=request.terminal, nfe=request.nfe)
        # No effort could validate the schedule of a curve: there is no model to run.
        needed = 0 if request.effort is Effort.FAST or is_curve(request.model) else rank_of(request.effort)
        return cell.schedule_id if cell is not None and cell.rank >= needed else None

    def table(self, target: Target) -> str | None:
        """Returns the id of the table that holds a target, or None when there is none that was made with the present weights.

        Args:
            target: What is asked for.
        """
        raw, present = self._redis.hget(keys.variants(target.model), table_of(target)), self._redis.hget(keys.FINGERPRINTS, target.model)
        return table_of(target) if raw is not None and TableEntry.model_validate_json(raw).of(present) else None

    def curve(self, curve_id: str) -> LossCurve | None:
        """Returns a loss curve."""
        raw = self._redis.get(keys.curve(curve_id))
        return None if raw is None else LossCurve.model_validate_json(unpack(raw))

    def keep_curve(self, curve: LossCurve) -> None:
        """Keeps a loss curve for as long as the record of a job."""
        self._redis.set(keys.curve(curve.id), pack(curve.rising().model_dump_json()), ex=int(RECORDS_SECONDS))


def _table_arguments(request: JobRequest, profile: ProfileInfo | None, schedules: Sequence[Schedule]) -> list[str | bytes]:
    """Profile body, entry of the table and its fingerprint; '' for each that this job has not made."""
    if profile is not None:
        entry = TableEntry(variant=profile.variant, fingerprint=profile.fingerprint, created_at=profile.created_at)
        return [pack(profile.model_dump_json()), entry.model_dump_json(), profile.fingerprint]
    if not schedules or request.chosen or (request.method is Method.PROFILE and not is_curve(request.model)):
        return [b"", "", ""]
    entry = TableEntry(variant=request.variant, fingerprint=schedules[0].fingerprint, created_at=time.time())
    return [b"", entry.model_dump_json(), schedules[0].fingerprint]


def rank_of_schedule(schedule: Schedule) -> int:
    """How much effort went into a schedule: that of its validation; 0 for one that was only copied along."""
    effort = schedule.provenance.effort
    if effort is None or (effort is not Effort.FAST and not schedule.validated):
        return 0
    return _RANKS[effort]


def _cell(raw: bytes) -> Cell:
    schedule_id, rank = text(raw).split(" ")
    return Cell(schedule_id, int(rank))


def field_of(solver: Solver, terminal: Terminal, nfe: int) -> str:
    """Name of a cell within its table."""
    return f"{solver}:{terminal}:{nfe}"
