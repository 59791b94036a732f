"""Results: profiles, the schedules computed from them, and the aliases that name those.

A profile and its whole table appear in one transaction with the success of their job. Schedules never change; an alias
(table, solver, terminal, nfe) moves on only to a schedule that at least as much effort went into. A table is that of a variant and a
method: one method never replaces the answers of another.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel
from redis import Redis

from ays_client.contract import (
    NFE_MAX,
    NFE_MIN,
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
from ays_store.damage import Body, DamagedError, Place, leave_out, leaving_out, parsed, reading
from ays_store.limits import RECORDS_SECONDS
from ays_store.records import text
from ays_store.scripts import Script

_POSTED_AGAIN = "POST the request to /v1/jobs again, whose job makes it anew"
_MEASURED_AGAIN = "POST a request for this model to /v1/jobs, whose job measures it anew"
_CELL = re.compile(r"([0-9a-f]{1,64}) ([0-3])")

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
        with reading(Place(keys.job(job_id))):
            raw = self._redis.hget(keys.job(job_id), "request")
        if raw is None:
            return False
        request = parsed(JobRequest, raw, Place(keys.job(job_id), "request", again="POST the request again"))
        profile = profile or self._unlisted(request)
        head: list[str | bytes | int] = [job_id, token, requested_schedule_id, table_of(request), request.model]
        head += [*_table_arguments(request, profile, schedules), b"" if samples is None else pack(samples.model_dump_json())]
        for schedule in schedules:
            # What somebody chose answers that request only; the alias is for those who leave it to us.
            alias = not request.chosen or schedule.id != requested_schedule_id
            field = field_of(schedule.solver, schedule.terminal, schedule.nfe) if alias else ""
            head += [schedule.id, pack(schedule.model_dump_json()), field, rank_of_schedule(schedule)]
        return bool(self._commit(*head))

    def _unlisted(self, request: JobRequest) -> ProfileInfo | None:
        """The stored profile of a request whose entry among the tables was damaged: it is listed again, as if it were new."""
        if request.method is not Method.PROFILE or is_curve(request.model):
            return None
        try:
            self.table(request)
        except DamagedError as error:
            leave_out(error)
        else:
            return None
        with leaving_out():
            return self.profile(identity(request.variant))
        return None

    def profile(self, profile_id: str) -> ProfileInfo | None:
        """Returns a profile.

        Raises:
            DamagedError: It is damaged.
        """
        found = self._body(ProfileInfo, Place(keys.profile(profile_id), again=_MEASURED_AGAIN))
        return None if found is None else found[1]

    def profile_json(self, profile_id: str) -> bytes | None:
        """Returns a profile as the JSON it was stored as.

        Raises:
            DamagedError: It is damaged.
        """
        found = self._body(ProfileInfo, Place(keys.profile(profile_id), again=_MEASURED_AGAIN))
        return None if found is None else found[0]

    def schedule(self, schedule_id: str) -> bytes | None:
        """Returns a schedule as the JSON it was stored as.

        Raises:
            DamagedError: It is damaged.
        """
        place = Place(keys.schedule(schedule_id), again=_POSTED_AGAIN)
        found = self._body(Schedule, place)
        if found is not None and found[1].id != schedule_id:
            raise DamagedError(place, received="another schedule", expected=f"that of the address {schedule_id[:64]}")
        return None if found is None else found[0]

    def samples(self, schedule_id: str) -> bytes | None:
        """Returns the samples drawn with a schedule as the JSON they were stored as.

        Raises:
            DamagedError: They are damaged.
        """
        found = self._body(SampleGrid, Place(keys.samples(schedule_id)))
        return None if found is None else found[0]

    def _body(self, kind: type[Body], place: Place) -> tuple[bytes, Body] | None:
        """A stored body, and what it says: what is served as it was stored has been read before."""
        with reading(place):
            raw = self._redis.get(place.key)
        if raw is None:
            return None
        body = unpack(raw, place)
        return body, parsed(kind, body, place)

    def drawn(self, schedule_ids: Sequence[str]) -> set[str]:
        """Returns those of some schedules that samples were drawn with."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for schedule_id in schedule_ids:
                pipeline.exists(keys.samples(schedule_id))
            return {schedule_id for schedule_id, there in zip(schedule_ids, pipeline.execute(), strict=True) if there}

    def row(
        self, table: str, *, solver: Solver, terminal: Terminal, after: int = 0, limit: int = NFE_MAX
    ) -> tuple[list[Schedule], int | None]:
        """Returns the schedules that the aliases of one solver and terminal name, by rising number of evaluations.

        Args:
            table: The table.
            solver: The solver.
            terminal: The end of the schedules.
            after: Only those with more evaluations.
            limit: Most schedules.

        Returns:
            The schedules, damaged ones left out; and the number of evaluations from which the next page goes on, None: there is none.
        """
        budgets = range(max(NFE_MIN, after + 1), NFE_MAX + 1)
        fields = [field_of(solver, terminal, nfe) for nfe in budgets]
        with reading(Place(keys.cells(table))):
            stored = self._redis.hmget(keys.cells(table), fields) if fields else []
        found = []
        for nfe, field, raw in zip(budgets, fields, stored, strict=True):
            with leaving_out():
                found += [] if raw is None else [(nfe, _cell(raw, Place(keys.cells(table), field, again=_POSTED_AGAIN)))]
        page = found[:limit]
        return self._schedules([cell.schedule_id for _, cell in page]), page[-1][0] if len(found) > limit else None

    def cell(self, table: str, *, solver: Solver, terminal: Terminal, nfe: int) -> Cell | None:
        """Returns what an alias names.

        Raises:
            DamagedError: It is damaged.
        """
        place = Place(keys.cells(table), field_of(solver, terminal, nfe), again=_POSTED_AGAIN)
        with reading(place):
            raw = self._redis.hget(place.key, place.field)
        return None if raw is None else _cell(raw, place)

    def cells(self, table: str) -> dict[tuple[Solver, Terminal, int], Cell]:
        """Returns all aliases of a table; damaged ones are left out."""
        with reading(Place(keys.cells(table))):
            stored = self._redis.hgetall(keys.cells(table))
        found = {}
        for field, raw in stored.items():
            place = Place(keys.cells(table), text(field), again=_POSTED_AGAIN)
            with leaving_out():
                found[_place_of(place)] = _cell(raw, place)
        return found

    def validated(self, profile_id: str) -> list[Schedule]:
        """Returns the validated schedules that aliases of a profile name.

        Args:
            profile_id: The profile.
        """
        ids = [cell.schedule_id for cell in self.cells(profile_id).values() if cell.rank > rank_of(Effort.FAST)]
        return self._schedules(ids)

    def _schedules(self, ids: Sequence[str]) -> list[Schedule]:
        # A key of another type is as if it were not there.
        stored = self._redis.mget([keys.schedule(schedule_id) for schedule_id in ids]) if ids else []
        found = []
        for schedule_id, raw in zip(ids, stored, strict=True):
            place = Place(keys.schedule(schedule_id), again=_POSTED_AGAIN)
            with leaving_out():
                found += [] if raw is None else [parsed(Schedule, unpack(raw, place), place)]
        return found

    def variants(self, model: str) -> list[Measured]:
        """Returns the variants of a model that have a profile of its present weights: the default one first, then newest first.

        Args:
            model: Id of the model.
        """
        return self.variants_of([model])[0]

    def variants_of(self, models: Sequence[str]) -> list[list[Measured]]:
        """Returns the same for each of some models, in one round trip; damaged entries are left out.

        Args:
            models: Their ids.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            for model in models:
                pipeline.hgetall(keys.variants(model))
                pipeline.hget(keys.FINGERPRINTS, model)
            found = pipeline.execute(raise_on_error=False) if models else []
        return [_variants(model, *found[2 * index : 2 * index + 2]) for index, model in enumerate(models)]

    def find(self, request: JobRequest) -> str | None:
        """Returns the id of a stored schedule that answers a request with at least the effort it asks for.

        `fast` asks for no validation: any schedule of the table will do.

        Args:
            request: What is asked for.

        Raises:
            DamagedError: What leads to it is damaged.
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
        place = Place(keys.variants(target.model), table_of(target), again=_POSTED_AGAIN)
        with reading(place):
            raw = self._redis.hget(place.key, place.field)
        with reading(Place(keys.FINGERPRINTS)):
            present = self._redis.hget(keys.FINGERPRINTS, target.model)
        return table_of(target) if raw is not None and parsed(TableEntry, raw, place).of(present) else None

    def answer(self, request: JobRequest) -> str | None:
        """Returns the same as `find`, where the schedule can be served: what is damaged is no answer, a job makes it anew.

        Args:
            request: What is asked for.
        """
        with leaving_out():
            schedule_id = self.find(request)
            return schedule_id if schedule_id is not None and self.served(schedule_id) else None
        return None

    def served(self, schedule_id: str) -> bool:
        """Returns whether a schedule can be served: it is there, and whole."""
        with leaving_out():
            return self.schedule(schedule_id) is not None
        return False

    def curve(self, curve_id: str) -> LossCurve | None:
        """Returns a loss curve.

        Raises:
            DamagedError: It is damaged.
        """
        found = self._body(LossCurve, Place(keys.curve(curve_id), again="POST the curve to /v1/curves again"))
        return None if found is None else found[1]

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


def _variants(model: str, stored: object, present: object) -> list[Measured]:
    if not isinstance(stored, Mapping):
        leave_out(DamagedError(Place(keys.variants(model), again=_POSTED_AGAIN), received="a key of another type", expected="a hash"))
        stored = {}
    default, found = identity(Variant(model=model)), []
    for field, raw in stored.items():
        table = text(field)
        with leaving_out():
            entry = parsed(TableEntry, raw, Place(keys.variants(model), table, again=_POSTED_AGAIN))
            # The tables of the other methods have no profile.
            if entry.of(present if isinstance(present, bytes) else None) and table == identity(entry.variant):
                found.append(Measured(profile_id=table, **dict(entry)))
    return sorted(found, key=lambda measured: (measured.profile_id != default, -measured.created_at))


def _place_of(place: Place) -> tuple[Solver, Terminal, int]:
    try:
        solver, terminal, nfe = str(place.field).split(":")
        return Solver(solver), Terminal(terminal), int(nfe)
    except ValueError:
        raise DamagedError(place, received="a field of another form", expected="solver:terminal:nfe") from None


def _cell(raw: bytes, place: Place) -> Cell:
    found = _CELL.fullmatch(text(raw))
    if found is None:
        raise DamagedError(place, received="a value of another form", expected="the id of a schedule and its rank")
    return Cell(found[1], int(found[2]))


def field_of(solver: Solver, terminal: Terminal, nfe: int) -> str:
    """Name of a cell within its table."""
    return f"{solver}:{terminal}:{nfe}"
