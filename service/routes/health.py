"""`/healthz` and `/readyz` for the probes of an orchestrator, `/metrics` for Prometheus."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from redis.exceptions import RedisError, ResponseError

from ays_store import SchemaError
from service.deps import MetricsDep, StoreDep
from service.handlers import RETRY_SECONDS
from service.problems import ProblemError, declared

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The service can do its work."""

    status: Literal["ready"] = "ready"
    redis: Literal["ok"] = "ok"
    workers: int
    warnings: list[str] = Field(default=[], description="settings of Redis that lose what was accepted, each with what to do")


@router.get("/healthz", summary="Does the process run?")
async def healthz() -> Health:
    """Always ok, as long as this process answers; looks at nothing else."""
    return Health()


@router.get("/readyz", responses=declared(), summary="Can jobs be done?")
def readyz(store: StoreDep) -> Readiness:
    """Ready when Redis takes what it is given and at least one worker lives."""
    try:
        store.check_writable()
        store.check_schema()
        workers = store.workers.count()
        mistakes = store.redis_mistakes()
    except SchemaError as error:
        raise _missing(what="redis", detail=str(error), fix="upgrade this service, or change AYS_REDIS_URL") from error
    except ResponseError as error:
        fix = "give it memory or disk, or name the primary in AYS_REDIS_URL; `ays doctor` looks closer"
        raise _missing(what="redis", detail=f"Redis refuses to write: {error}", fix=fix) from error
    except RedisError as error:
        reason = f"Redis does not answer: {type(error).__name__}"
        raise _missing(what="redis", detail=reason, fix="start Redis, or correct AYS_REDIS_URL") from error
    if workers == 0:
        raise _missing(what="worker", detail="no worker is alive, so nobody takes the jobs", fix="start a worker: `ays worker`")
    return Readiness(workers=workers, warnings=[f"{mistake.seen}; {mistake.fix}" for mistake in mistakes])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}},
    summary="What is there to be watched?",
)
def metrics(metrics: MetricsDep) -> Response:
    """Metrics of this process, and of the queue and the workers as long as Redis answers."""
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _missing(*, what: str, detail: str, fix: str) -> ProblemError:
    return ProblemError(
        503,
        detail,
        received={"missing": what},
        expected="a Redis that takes what it is given, and at least one live worker",
        fix=fix,
        headers={"retry-after": str(RETRY_SECONDS)},
    )
