"""What Redis holds after everything has ended: no part of anything without the rest."""

from collections.abc import Iterator
from typing import Any

from ays_client.contract import JobState, ProfileInfo
from ays_store import Queue, Store, keys
from ays_store.records import text
from tests.chaos.traffic import MODEL, whole


def audit(store: Store) -> Iterator[str]:
    """What is half there, one line each."""
    redis: Any = store.redis
    jobs = _all_jobs(store)
    for job in jobs:
        if not job.state.final:
            yield f"job {job.id} is {job.state} after the end"
        if job.state is JobState.SUCCEEDED and not _stored(store, job.schedule_id):
            yield f"job {job.id} succeeded without its schedule"
        if job.state is JobState.FAILED and not job.error:
            yield f"job {job.id} failed without a reason"
    for state in JobState:
        listed = {text(raw) for raw in redis.zrange(keys.jobs_in(state), 0, -1)}
        if listed != {job.id for job in jobs if job.state is state}:
            yield f"the list of {state} jobs is not that of the records"
    if redis.zcard(keys.LEASES):
        yield "leases of no job are left"
    if len(Queue(store.redis)):
        yield "the queue is not empty"
    yield from _tables(store)


def _tables(store: Store) -> Iterator[str]:
    redis: Any = store.redis
    for raw in redis.hkeys(keys.variants(MODEL)):
        table = text(raw)
        profile = store.results.profile_json(table)
        if profile is None or ProfileInfo.model_validate_json(profile).id != table:
            yield f"table {table} has no profile"
        cells = store.results.cells(table)
        if not cells:
            yield f"table {table} has no schedules"
        for cell in cells.values():
            if not _stored(store, cell.schedule_id):
                yield f"a cell of table {table} names the schedule {cell.schedule_id}, which is not there"
        if redis.exists(keys.shards(table)):
            yield f"shards of table {table} are left although its profile is there"


def _all_jobs(store: Store) -> list[Any]:
    jobs, cursor = store.jobs.list(limit=200)
    while cursor is not None:
        more, cursor = store.jobs.list(limit=200, cursor=cursor)
        jobs += more
    return jobs


def _stored(store: Store, schedule_id: str | None) -> bool:
    body = None if schedule_id is None else store.results.schedule(schedule_id)
    return body is not None and whole(body, schedule_id)
