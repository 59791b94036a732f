"""Results: profiles, the schedules computed from them, and the aliases that name those.

A profile and its whole table appear in one transaction, while their job still looks for a better answer to its request; that one appears
with the success of the job. Schedules never change; an alias
(table, solver, terminal, nfe) moves on only to a schedule that at least as much effort went into. A table is that of a variant and a
method: one method never replaces the answers of another.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

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
    address,
    identity,
    is_curve,
)
from ays_client.curve import LossCurve
from ays_client.samples import SampleGrid
from ays_store import keys
from ays_store.bodies import pack, unpack
from ays_store.cells import Cell, cell_from, field_of, place_of, rank_of, rank_of_schedule
from ays_store.damage import Body, DamagedError, Place, leave_out, leaving_out, parsed, reading
from ays_store.limits import RECORDS_SECONDS
from ays_store.records import text
from ays_store.scripts import Script
from ays_store.tables import POSTED_AGAIN, Measured, TableEntry, table_of, variants_from

_MEASURED_AGAIN = "POST a request for this model to /v1/jobs, whose job measures it anew"


class Results:
    """The results in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._commit = Script(redis, "results/reading", "results/commit")

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
        return self._write(job_id, token, profile, schedules, requested_schedule_id, samples)

    def publish(self, job_id: str, token: int, *, profile: ProfileInfo, schedules: Sequence[Schedule]) -> bool:
        """Stores a new profile and its table in one transaction, while their job goes on.

        Args:
            job_id: The job.
            token: The attempt.
            profile: The profile.
            schedules: The table.

        Returns:
            False when the attempt does not own the job any more; then nothing was written.
        """
        return self._write(job_id, token, profile, schedules, "", None)

    def _write(
        self,
        job_id: str,
        token: int,
        profile: ProfileInfo | None,
        schedules: Sequence[Schedule],
        requested_schedule_id: str,
        samples: SampleGrid | None,
    ) -> bool:
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
        place = Place(keys.schedule(schedule_id), again=POSTED_AGAIN)
        with reading(place):
            raw = self._redis.get(place.key)
        return None if raw is None else _addressed(raw, schedule_id)[0]

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
                found += [] if raw is None else [(nfe, cell_from(raw, Place(keys.cells(table), field, again=POSTED_AGAIN)))]
        page = found[:limit]
        return self._schedules([cell.schedule_id for _, cell in page]), page[-1][0] if len(found) > limit else None

    def cell(self, table: str, *, solver: Solver, terminal: Terminal, nfe: int) -> Cell | None:
        """Returns what an alias names.

        Raises:
            DamagedError: It is damaged.
        """
        place = Place(keys.cells(table), field_of(solver, terminal, nfe), again=POSTED_AGAIN)
        with reading(place):
            raw = self._redis.hget(place.key, place.field)
        return None if raw is None else cell_from(raw, place)

    def cells(self, table: str) -> dict[tuple[Solver, Terminal, int], Cell]:
        """Returns all aliases of a table; damaged ones are left out."""
        with reading(Place(keys.cells(table))):
            stored = self._redis.hgetall(keys.cells(table))
        found = {}
        for field, raw in stored.items():
            place = Place(keys.cells(table), text(field), again=POSTED_AGAIN)
            with leaving_out():
                found[place_of(place)] = cell_from(raw, place)
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
            with leaving_out():
                found += [] if raw is None else [_addressed(raw, schedule_id)[1]]
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
        return [variants_from(model, *found[2 * index : 2 * index + 2]) for index, model in enumerate(models)]

    def find(self, request: JobRequest, *, any_effort: bool = False) -> str | None:
        """Returns the id of a stored schedule that answers a request with at least the effort it asks for.

        `fast` asks for a schedule that was guarded, not for a validated one.

        Args:
            request: What is asked for.
            any_effort: Whether any schedule will do, one that was not even guarded too.

        Raises:
            DamagedError: What leads to it is damaged.
        """
        table = None if request.chosen else self.table(request)
        if table is None:
            return None
        cell = self.cell(table, solver=request.solver, terminal=request.terminal, nfe=request.nfe)
        # No effort could validate the schedule of a curve: there is no model to run.
        needed = 0 if any_effort or is_curve(request.model) else rank_of(request.effort)
        return cell.schedule_id if cell is not None and cell.rank >= needed else None

    def table(self, target: Target) -> str | None:
        """Returns the id of the table that holds a target, or None when there is none that was made with the present weights.

        Args:
            target: What is asked for.
        """
        place = Place(keys.variants(target.model), table_of(target), again=POSTED_AGAIN)
        with reading(place):
            raw = self._redis.hget(place.key, place.field)
        with reading(Place(keys.FINGERPRINTS)):
            present = self._redis.hget(keys.FINGERPRINTS, target.model)
        return table_of(target) if raw is not None and parsed(TableEntry, raw, place).of(present) else None

    def answer(self, request: JobRequest, *, any_effort: bool = False) -> str | None:
        """Returns the same as `find`, where the schedule can be served: what is damaged is no answer, a job makes it anew.

        Args:
            request: What is asked for.
            any_effort: As in `find`.
        """
        with leaving_out():
            schedule_id = self.find(request, any_effort=any_effort)
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


def _addressed(raw: bytes, schedule_id: str) -> tuple[bytes, Schedule]:
    """A stored schedule and its body, whose address is computed anew: it is served as immutable.

    Raises:
        DamagedError: it is none, or another than its address says.
    """
    place = Place(keys.schedule(schedule_id), again=POSTED_AGAIN)
    body = unpack(raw, place)
    schedule = parsed(Schedule, body, place)
    # Of the stored text, not of the model: a later version's model may have more fields.
    own_id = address({**json.loads(body), "id": "", "formats": {}})
    own = f"/v1/schedules/{schedule_id}"
    if not own_id == schedule.id == schedule_id:
        raise DamagedError(place, received=f"a schedule whose address is {own_id}", expected=f"that of the address {schedule_id[:64]}")
    if any(link.partition("?")[0] != own for link in schedule.formats.values()):
        raise DamagedError(place, received="links that lead elsewhere", expected=f"links to {own}")
    return body, schedule
