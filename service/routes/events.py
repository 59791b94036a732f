"""`GET /v1/jobs/{id}/events`: a job as it happens."""

import re
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from ays_store.origin import ANONYMOUS
from service.deps import CallerDep, FeedDep, KnownKeysDep, SettingsDep, StoreDep
from service.jobs.feed import START
from service.jobs.streams import Stream
from service.problems import ProblemError, declared
from service.routes.jobs import no_job

router = APIRouter(tags=["jobs"])

_EVENT_ID = re.compile(r"\d{1,18}(-\d{1,18})?")


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Events", "content": {"text/event-stream": {}}}, **declared(404)},
    summary="Follow a job",
)
async def follow_job(
    job_id: str,
    store: StoreDep,
    feed: FeedDep,
    caller: CallerDep,
    known_keys: KnownKeysDep,
    settings: SettingsDep,
    last_event_id: Annotated[str | None, Header(description="resume after this event")] = None,
) -> StreamingResponse:
    """Server-sent events of a job: its states and its progress, each as an `Event` in `data`.

    All stored events come first (those after `Last-Event-ID` on a resumed stream), then new ones as they happen. The stream
    ends after the final state, and after a while at the latest: clients resume it.
    """
    if last_event_id is not None and not _EVENT_ID.fullmatch(last_event_id):
        raise ProblemError(
            422,
            "the header Last-Event-ID is not the id of an event",
            received=last_event_id,
            expected="the id of an event of this stream, such as 1700000000000-0",
            fix="leave the header out to get all stored events",
        )
    if await run_in_threadpool(store.jobs.get, job_id) is None:
        raise no_job(job_id)

    async def allowed() -> bool:
        return caller.id == ANONYMOUS or await known_keys.still_good(caller.id)

    stream = Stream(
        store,
        feed,
        job_id=job_id,
        after=last_event_id or START,
        seconds=settings.stream_seconds,
        heartbeat=settings.heartbeat_seconds,
        allowed=allowed,
    )
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(aiter(stream), media_type="text/event-stream", headers=headers)
