"""From the hash in Redis to the job that the API shows."""

from collections.abc import Sequence

from pydantic import ValidationError

from ays_client.contract import Job, JobRequest, JobState, Priority, Progress
from ays_store import keys
from ays_store.damage import DamagedError, Place, leaving_out
from ays_store.limits import LOST_SECONDS

Snapshot = Sequence[bytes | int | Sequence[bytes]]
"""What the scripts return: Redis' time in microseconds, the number of live workers, then `[id, field, value, ...]` per job."""


def text(raw: bytes | str) -> str:
    """Decodes what Redis returned; what is not UTF-8 gets marks in its place."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


def schedule_url(schedule_id: str) -> str:
    """The path of a schedule in the API."""
    return f"/v1/schedules/{schedule_id}"


def jobs_from(snapshot: Snapshot) -> list[Job]:
    """Turns a snapshot into jobs, in its order.

    Left out are records that are not there any more, and damaged ones, which are told and counted.

    Args:
        snapshot: What a script returned.
    """
    found = []
    for row in _rows(snapshot):
        with leaving_out():
            found.append(_readable(row, snapshot))
    return found


def job_from(snapshot: Snapshot) -> Job | None:
    """Turns the snapshot of one job into that job; None when there is none.

    Args:
        snapshot: What a script returned.

    Raises:
        DamagedError: Its record is damaged.
    """
    return next((_readable(row, snapshot) for row in _rows(snapshot)), None)


def _rows(snapshot: Snapshot) -> list[Sequence[bytes]]:
    return [row for row in snapshot[2:] if isinstance(row, Sequence) and len(row) > 1]  # type: ignore[misc]


def _readable(row: Sequence[bytes], snapshot: Snapshot) -> Job:
    try:
        return _job(row, now=int(snapshot[0]), live=int(snapshot[1]))  # type: ignore[arg-type]
    except KeyError as error:
        received = f"no field {error}"
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False, include_context=False)[0]
        received = f"{'.'.join(str(part)[:40] for part in mistake['loc'][:4])}: {mistake['msg'][:120]}"
    except (ValueError, OverflowError) as error:
        received = f"a field that is no number, or none of ours ({type(error).__name__})"
    again = "POST its request to /v1/jobs again, which begins it anew"
    raise DamagedError(Place(keys.job(text(row[0])), again=again), received=received, expected="the record of a job")


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
