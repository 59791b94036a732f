"""`/v1/models` and `/v1/profiles`: what can be asked for, and what has been measured."""

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import Model, ProfileInfo, Schedule, Solver, Terminal
from ays_client.pages import ModelList, Row, RowCell
from service.answers import cached
from service.catalogue import catalogue
from service.deps import StoreDep
from service.known import known_model
from service.problems import ProblemError, declared

router = APIRouter(tags=["models"])

_POLICY = "public, max-age=60, stale-while-revalidate=600"

_GROWING = "no-cache"
"""For a row of the table: every job may add to it."""


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


@router.get("/v1/models", responses=declared(), summary="List models")
def list_models(store: StoreDep) -> ModelList:
    """The models that the workers offer, and those of which a schedule was published."""
    offered = store.models.list()
    ids = {model.id for model in offered}
    models = [*offered, *(model for model in catalogue() if model.id not in ids)]
    return ModelList(models=models, live_workers=len(store.workers.live()))


@router.get("/v1/models/{model_id}", responses=declared(404), summary="See a model")
def get_model(model_id: str, store: StoreDep) -> Model:
    """A model: its range of noise levels, its parametrization, and how far it has been measured."""
    return known_model(store, model_id)


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
    """All cached schedules of a profile for one solver and terminal, in short: the levels, and the errors where validated."""
    found = store.results.row(profile_id, solver=query.solver, terminal=query.terminal)
    if not found and store.results.profile_json(profile_id) is None:
        raise _no_profile(profile_id)
    drawn = store.results.drawn([schedule.id for schedule in found])
    cells = [_in_short(schedule, drawn) for schedule in found]
    row = Row(profile_id=profile_id, solver=query.solver, terminal=query.terminal, cells=cells)
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
