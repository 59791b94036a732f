"""`/v1/models` and `/v1/profiles`: what can be asked for, and what has been measured."""

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import NFE_MAX, NFE_MIN, Model, ProfileInfo, Schedule, Solver, Terminal
from ays_client.pages import ModelList, Row, RowCell
from service.deps import StoreDep
from service.problems import ProblemError, declared
from service.schedules.answers import cached
from service.schedules.catalogue import catalogue
from service.schedules.model_lookup import known_model

router = APIRouter(tags=["models"])

_POLICY = "public, max-age=60, stale-while-revalidate=600"

_GROWING = "no-cache"
"""For a row of the table: every job may add to it."""


_OFFERED, _LISTED = "o", "p"
"""What the cursor of a list of models begins with: where it is, among those that are offered or those that are published."""

_CURSOR = f"^[{_OFFERED}{_LISTED}][A-Za-z0-9._-]{{0,128}}$"


class ProfileQuery(BaseModel):
    """Query of a profile."""

    model_config = ConfigDict(extra="forbid")

    measure: Literal["flow", "forward"] | None = Field(
        None, description="only this path measure's moments, without what standard errors need"
    )


class RowQuery(BaseModel):
    """Query of a row of the table."""

    model_config = ConfigDict(extra="forbid")

    solver: Solver = Solver.DPMPP_2M
    terminal: Terminal = Terminal.ZERO
    cursor: int | None = Field(None, ge=NFE_MIN, le=NFE_MAX, description="`next_cursor` of the page before")
    limit: int = Field(NFE_MAX, ge=1, le=NFE_MAX, description="schedules in a page; left out: all")


class ModelsQuery(BaseModel):
    """Query of the list of models."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(None, pattern=_CURSOR, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=200, description="models in a page")


@router.get("/v1/models", responses=declared(), summary="List models")
def list_models(query: Annotated[ModelsQuery, Query()], store: StoreDep) -> ModelList:
    """The models that the workers offer, by id, then those of which only a schedule was published; a page at a time."""
    part, after = (query.cursor or _OFFERED)[0], (query.cursor or _OFFERED)[1:]
    models: list[Model] = []
    if part == _OFFERED:
        models, last = store.models.page(after=after, limit=query.limit)
        if last is not None:
            return ModelList(models=models, next_cursor=f"{_OFFERED}{last}", live_workers=store.workers.count())
        after = ""
    listed = [model for model in catalogue() if model.id > after]
    offered = store.models.offered([model.id for model in listed])
    rest = [model for model in listed if model.id not in offered]
    room = query.limit - len(models)
    shown, more = rest[:room], len(rest) > room
    following = f"{_LISTED}{shown[-1].id if shown else ''}" if more else None
    return ModelList(models=[*models, *shown], next_cursor=following, live_workers=store.workers.count())


@router.get("/v1/models/{model_id}", responses=declared(404), summary="See a model")
def get_model(model_id: str, store: StoreDep) -> Model:
    """A model: its range of noise levels, its parametrization, and how far it has been measured."""
    return known_model(store, model_id)


class Dropped(BaseModel):
    """What was forgotten."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tables: int = Field(description="tables of schedules, each with its profile")
    schedules: int


@router.delete("/v1/models/{model_id}/schedules", responses=declared(404), summary="Forget what is stored of a model")
def forget_model(model_id: str, store: StoreDep) -> Dropped:
    """Drop the profiles and schedules of a model; its jobs stay, and a new one makes them anew. Needs a key of scope `admin`.

    Answers that are immutable may still be served from the memory of this service and of caches in between.
    """
    done = store.retention.forget(model_id)
    if not done.tables:
        raise ProblemError(
            404, "nothing is stored of such a model", received=model_id, expected="a model that was measured", fix="see /v1/models"
        )
    return Dropped(tables=done.tables, schedules=done.schedules)


@router.delete("/v1/profiles/{profile_id}", responses=declared(404), summary="Forget a profile")
def forget_profile(profile_id: str, store: StoreDep) -> Dropped:
    """Drop a profile and all schedules that were computed from it. Needs a key of scope `admin`."""
    profile = store.results.profile(profile_id)
    if profile is None:
        raise _no_profile(profile_id)
    done = store.retention.forget(profile.variant.model, profile_id=profile_id)
    return Dropped(tables=done.tables, schedules=done.schedules)


@router.get(
    "/v1/profiles/{profile_id}",
    response_model=ProfileInfo,
    responses={304: {"description": "The client has it"}, **declared(404)},
    summary="Get a profile",
)
def get_profile(profile_id: str, query: Annotated[ProfileQuery, Query()], request: Request, store: StoreDep) -> Response:
    """What was measured of one variant of a model."""
    raw = store.results.profile_json(profile_id)
    if raw is None:
        raise _no_profile(profile_id)
    if query.measure is not None:
        profile = ProfileInfo.model_validate_json(raw)
        moments = {measure: matrix for measure, matrix in profile.moments.items() if measure == query.measure}
        raw = profile.model_copy(update={"moments": moments, "standard_errors": {}, "groups": {}}).model_dump_json().encode()
    # Measured again, other weights replace it: the tag is the content's, not the id.
    return _tagged(request, raw, policy=_POLICY)


@router.get(
    "/v1/profiles/{profile_id}/schedules",
    response_model=Row,
    responses={304: {"description": "The client has it"}, **declared(404)},
    summary="Get a row of the table",
)
def get_row(profile_id: str, query: Annotated[RowQuery, Query()], request: Request, store: StoreDep) -> Response:
    """The cached schedules of a profile for one solver and terminal, in short: the levels, and the errors where validated."""
    after = NFE_MIN - 1 if query.cursor is None else query.cursor
    found, last = store.results.row(profile_id, solver=query.solver, terminal=query.terminal, after=after, limit=query.limit)
    if not found and store.results.profile_json(profile_id) is None:
        raise _no_profile(profile_id)
    drawn = store.results.drawn([schedule.id for schedule in found])
    cells = [_in_short(schedule, drawn) for schedule in found]
    cursor = None if last is None else str(last)
    row = Row(profile_id=profile_id, solver=query.solver, terminal=query.terminal, cells=cells, next_cursor=cursor)
    return _tagged(request, row.model_dump_json().encode(), policy=_GROWING)


def _tagged(request: Request, body: bytes, *, policy: str) -> Response:
    tag = hashlib.sha256(body).hexdigest()[:32]
    return cached(request, body, tag=tag, policy=policy, media_type="application/json")


def _in_short(schedule: Schedule, drawn: set[str]) -> RowCell:
    origin = schedule.provenance
    return RowCell(
        nfe=schedule.nfe,
        schedule_id=schedule.id,
        sigmas=schedule.sigmas,
        source=schedule.source,
        validated=schedule.validated,
        error=schedule.error,
        detail=origin.detail,
        knee=origin.knee,
        ratio_bound=origin.ratio_bound,
        refined=origin.refined,
        candidate=origin.candidate,
        samples=schedule.id in drawn,
    )


def _no_profile(profile_id: str) -> ProblemError:
    return ProblemError(
        404,
        "there is no such profile",
        received=profile_id,
        expected="the id of a measured profile",
        fix="see profile_id in /v1/models, or provenance.profile of a schedule",
    )
