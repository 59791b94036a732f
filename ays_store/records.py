"""From the hash in Redis to the job that the API shows."""

import logging
from collections.abc import Sequence

from ays_client.contract import Job, JobRequest, JobState, Priority, Progress
from ays_store.limits import LOST_SECONDS

_log = logging.getLogger(__name__)

Snapshot = Sequence[bytes | int | Sequence[bytes]]
"""What the scripts return: Redis' time in microseconds, the number of live workers, then `[id, field, value, ...]` per job."""


def text(raw: bytes | str) -> str:
    """Decodes what Redis returned."""
    return raw.decode() if isinstance(raw, bytes) else raw


def schedule_url(schedule_id: str) -> str:
    """The path of a schedule in the API."""
    return f"/v1/schedules/{schedule_id}"


def jobs_from(snapshot: Snapshot) -> list[Job]:
    """Turns a snapshot into jobs, in its order.

    Left out are records that are not there any more, and those that another version wrote in a way that this one cannot read:
    one of them must not make a whole list unreadable.

    Args:
        snapshot: What a script returned.
    """
    now, live, *rows = snapshot
    if isinstance(now, Sequence) and not isinstance(now, bytes):
        msg = f"received the snapshot {snapshot!r}, expected Redis' time first"
        raise TypeError(msg)
    found = [_readable(row, now=int(now), live=int(live)) for row in rows if len(row) > 1]  # type: ignore[arg-type]
    return [job for job in found if job is not None]


def _readable(row: Sequence[bytes], *, now: int, live: int) -> Job | None:
    try:
        return _job(row, now=now, live=live)
    except (KeyError, ValueError):
        _log.exception("the record of job %s cannot be read", text(row[0]))
        return None


def _job(row: Sequence[bytes], *, now: int, live: int) -> Job:
    fields = {text(name): text(value) for name, value in zip(row[1::2], row[2::2], strict=True)}
    schedule_id = fields.get("schedule_id") or None
    return Job(
        id=text(row[0]),
        state=_state(fields, now=now),
        request=JobRequest.model_validate_json(fields["request"]),
        priority=Priority(fields.get("priority", Priority.INTERACTIVE)),
        progress=Progress.model_validate_json(fields["progress"]),
        created_at=int(fields["created"]) / 1e6,
        started_at=_seconds(fields.get("started")),
        finished_at=_seconds(fields.get("finished")),
        attempts=int(fields["tries"]),
        error=fields.get("error") or None,
        schedule_id=schedule_id,
        schedule_url=schedule_url(schedule_id) if schedule_id else None,
        live_workers=live,
    )


def _state(fields: dict[str, str], *, now: int) -> JobState:
    state = JobState(fields["state"])
    if state is JobState.RUNNING and now > int(fields["lease"]) + LOST_SECONDS * 1e6:
        return JobState.LOST
    return state


def _seconds(micros: str | None) -> float | None:
    return int(micros) / 1e6 if micros else None
