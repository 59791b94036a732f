"""`/v1/models` and `/v1/profiles`: what can be asked for, and what has been measured."""

import hashlib

from fastapi import APIRouter, Request, Response

from ays_client.contract import Model, ProfileInfo
from ays_client.pages import ModelList
from service.answers import cached
from service.catalogue import catalogue
from service.deps import StoreDep
from service.known import known_model
from service.problems import ProblemError, declared

router = APIRouter(tags=["models"])

_POLICY = "public, max-age=60, stale-while-revalidate=600"


@router.get("/v1/models", responses=declared(), summary="List models")
def list_models(store: StoreDep) -> ModelList:
    """The models that the workers offer, and those of which a schedule was published."""
    offered = store.models.list()
    ids = {model.id for model in offered}
    return ModelList(models=[*offered, *(model for model in catalogue() if model.id not in ids)])


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
def get_profile(profile_id: str, request: Request, store: StoreDep) -> Response:
    """What was measured of one variant of a model."""
    raw = store.results.profile_json(profile_id)
    if raw is None:
        raise ProblemError(
            404,
            "there is no such profile",
            received=profile_id,
            expected="the id of a measured profile",
            fix="see profile_id in /v1/models, or provenance.profile of a schedule",
        )
    # Measured again, other weights replace it: the tag is the content's, not the id.
    tag = hashlib.sha256(raw).hexdigest()[:32]
    return cached(request, raw, tag=tag, policy=_POLICY, media_type="application/json")
