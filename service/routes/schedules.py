"""`/v1/schedules`: the answers."""

from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import JobRequest, Schedule, Target
from ays_client.errors import ScheduleRefused
from ays_client.formats import Format, render
from ays_client.samples import SampleGrid
from ays_store import Store
from ays_store.changes import NEVER, keys_of_lookup, keys_of_model
from ays_store.tables import table_of
from service.deps import StoreDep
from service.problems import ProblemError, declared
from service.schedules.answers import ALIAS, COMPUTED, IMMUTABLE, cached
from service.schedules.catalogue import published
from service.schedules.fallback import from_stock, nearest
from service.schedules.lookups import remember
from service.schedules.model_lookup import known_model

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

_TEXTS: dict[int | str, dict[str, object]] = {
    200: {"description": "The schedule", "content": {"text/plain": {"schema": {"type": "string"}}}},
    304: {"description": "The client has it"},
}


Rendered = Schedule | list[float] | dict[str, object]
"""What a schedule may look like in JSON: as itself, as its levels, or as what a tool's API takes."""

Shift = Annotated[float, Field(gt=0, le=100)]
_SHIFT: Shift | None = Field(None, description="flow models: the shift that the tool will apply; t is written as it is before it")


class Fallback(StrEnum):
    """The weakest kind of answer that may be served when nothing is cached; the stronger kinds are tried first."""

    NONE = "none"
    NEAREST = "nearest"
    PUBLISHED = "published"
    STOCK = "stock"


class ScheduleQuery(Target):
    """Query of the alias lookup."""

    fallback: Fallback = Field(Fallback.NONE, description="what may be served when nothing is cached")
    source: Literal["published", "stock"] | None = Field(None, description="only this kind of answer, whatever is cached")
    format: Format = Format.JSON
    shift: Shift | None = _SHIFT

    @property
    def request(self) -> JobRequest:
        """The request whose job makes this cell."""
        return JobRequest.model_validate(self.model_dump(include=set(Target.model_fields)))


class FormatQuery(BaseModel):
    """Query of a schedule by its id."""

    model_config = ConfigDict(extra="forbid")

    format: Format = Format.JSON
    shift: Shift | None = _SHIFT


@router.get("", response_model=Rendered, responses={**_TEXTS, **declared(404, 406)}, summary="Look a schedule up")
def find_schedule(query: Annotated[ScheduleQuery, Query()], request: Request, store: StoreDep) -> Response:
    """The best schedule there is now for a model, a budget and a solver.

    `fallback` names the weakest kind of answer that may be served when that cell has not been optimized: `none` (404),
    `nearest` (interpolated from the nearest cached budget), `published` (the tables of Align Your Steps), `stock` (computed from the range
    of noise levels). Stronger kinds are tried first; `source` in the answer says what it is. `source` in the query asks for one
    kind alone, to compare with.
    """
    if query.source is not None:
        remember(request, keys_of_model(query.model), used=table_of(query))
        schedule = _only(store, query, path=_path(query))
        return _answer(request, schedule, schedule_id=schedule.id, query=query, policy=COMPUTED)
    # Whoever takes less gets that where the cached one is damaged; whoever does not is told.
    find = store.results.find if query.fallback is Fallback.NONE else store.results.answer
    schedule_id = find(query.request, any_effort=True)
    raw = None if schedule_id is None else store.results.schedule(schedule_id)
    if schedule_id is not None and raw is not None:
        remember(request, keys_of_lookup(query), used=table_of(query))
        return _answer(request, raw, schedule_id=schedule_id, query=query, policy=ALIAS)
    remember(request, keys_of_model(query.model), used=table_of(query))
    schedule = _fall_back(store, query, path=_path(query))
    return _answer(request, schedule, schedule_id=schedule.id, query=query, policy=COMPUTED)


@router.get("/{schedule_id}", response_model=Rendered, responses={**_TEXTS, **declared(404, 406)}, summary="Get a schedule")
def get_schedule(schedule_id: str, query: Annotated[FormatQuery, Query()], request: Request, store: StoreDep) -> Response:
    """A schedule by its content address: it never changes."""
    raw = store.results.schedule(schedule_id)
    if raw is None:
        raise ProblemError(
            404,
            "there is no such schedule",
            received=schedule_id,
            expected="the id of a stored schedule; interpolated, published and stock ones are not stored",
            fix="look it up by model, nfe and solver: GET /v1/schedules?model=...&nfe=...",
        )
    remember(request, NEVER, used=schedule_id)
    return _answer(request, raw, schedule_id=schedule_id, query=query, policy=IMMUTABLE)


@router.get(
    "/{schedule_id}/samples",
    response_model=SampleGrid,
    responses={304: {"description": "The client has it"}, **declared(404)},
    summary="See what a schedule does",
)
def get_samples(schedule_id: str, request: Request, store: StoreDep) -> Response:
    """Samples of an image model from the same noises: the best stock schedule above, this one below, then the fine solution."""
    raw = store.results.samples(schedule_id)
    if raw is None:
        raise ProblemError(
            404,
            "no samples were drawn with this schedule",
            received=schedule_id,
            expected="the id of a schedule that a job was submitted for, of a model of images",
            fix="POST its request to /v1/jobs: the job draws them",
        )
    return cached(request, raw, tag=f"{schedule_id}.samples", policy=IMMUTABLE, media_type="application/json")


def _answer(request: Request, schedule: bytes | Schedule, *, schedule_id: str, query: ScheduleQuery | FormatQuery, policy: str) -> Response:
    form, shift = query.format, query.shift
    tag = schedule_id if form is Format.JSON else f"{schedule_id}.{form.value}"
    body: str | bytes
    if isinstance(schedule, bytes) and form is Format.JSON and shift is None:
        body = schedule
    else:
        try:
            body = render(Schedule.model_validate_json(schedule) if isinstance(schedule, bytes) else schedule, form, shift=shift)
        except ScheduleRefused as error:
            raise ProblemError(406, str(error), received={"format": form.value, "shift": shift}) from error
    return cached(request, body, tag=tag if shift is None else f"{tag}.{shift}", policy=policy, media_type=form.media_type)


def _only(store: Store, query: ScheduleQuery, *, path: str) -> Schedule:
    model = known_model(store, query.model)
    if query.source == "stock":
        return from_stock(store, model, query, path=path)
    found = published(model, query, path=path)
    if found is None:
        raise ProblemError(
            404,
            "no published schedule is known for this model and range of noise levels",
            received=query.model_dump(mode="json", exclude_defaults=True),
            expected="a model that names a published table; see `published` in /v1/models",
            fix="source=stock takes the schedule that can be computed from the range",
        )
    return found


def _fall_back(store: Store, query: ScheduleQuery, *, path: str) -> Schedule:
    model = known_model(store, query.model)
    # Whoever asks for a model of the catalogue, which no worker offers, asks for the published table.
    found = published(model, query, path=path) if store.models.get(model.id) is None else None
    if found is not None:
        return found
    if query.fallback is Fallback.NONE:
        raise _nothing(query, "nothing is cached for this cell")
    found = nearest(store, model, query, path=path)
    if found is not None:
        return found
    if query.fallback is Fallback.NEAREST:
        raise _nothing(query, "nothing is cached for this cell, nor for another nfe of this variant, solver and terminal")
    found = published(model, query, path=path)
    if found is not None:
        return found
    if query.fallback is Fallback.PUBLISHED:
        raise _nothing(query, "nothing is cached for this variant, and no published schedule is known for this model")
    return from_stock(store, model, query, path=path)


def _nothing(query: ScheduleQuery, detail: str) -> ProblemError:
    body = query.request.model_dump_json(exclude_defaults=True)
    return ProblemError(
        404,
        detail,
        received=query.model_dump(mode="json", exclude_defaults=True),
        expected="a cell that a job has computed; see /v1/models for the models that have been measured",
        fix=f"POST {body} to /v1/jobs; until it has succeeded, fallback=stock takes what can be computed now",
        headers={"link": '</v1/jobs>; rel="create"', "cache-control": "no-cache"},
    )


def _path(query: ScheduleQuery) -> str:
    given = query.model_dump(mode="json", exclude={"format", "shift"}, exclude_defaults=True)
    return f"/v1/schedules?{urlencode(given)}"
