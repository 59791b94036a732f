"""Events: one Redis stream per job; an entry's id is that of the server-sent event, so a reader can resume after any of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from redis import Redis
from redis.exceptions import ResponseError

from ays_client.contract import Event, Progress
from ays_store import keys
from ays_store.damage import DamagedError, Place, leave_out
from ays_store.records import schedule_url, text


class Entry(NamedTuple):
    """An event and its place in the stream."""

    id: str
    event: Event


class Events:
    """The events of all jobs. The last one of a job in a final state is that state."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self, after: Mapping[str, str], *, block_seconds: float | None = None, count: int = 100) -> dict[str, list[Entry]]:
        """Returns the events of several jobs after a place in each; jobs with none are left out.

        Args:
            after: For each job id the id of the last event seen; "0" for all.
            block_seconds: Wait this long for the first event when there is none yet; less than the client's socket timeout.
                None: do not wait.
            count: At most this many events per job.
        """
        if not after:
            return {}
        streams: dict[Any, Any] = {keys.events(job_id): last for job_id, last in after.items()}
        block = None if block_seconds is None else max(1, int(block_seconds * 1000))
        try:
            found: Any = self._redis.xread(streams, count=count, block=block)
        except ResponseError:
            # One that is no stream would keep the events of all others back.
            if not self._leave_out_others(streams):
                raise
            found = self._redis.xread(streams, count=count, block=block) if streams else None
        rows = found.items() if isinstance(found, dict) else found or []
        cut = len(keys.events(""))
        read = {text(key)[cut:]: [_entry(text(key), *row) for row in _flat(entries)] for key, entries in rows}
        return {job_id: [entry for entry in entries if entry is not None] for job_id, entries in read.items()}

    def _leave_out_others(self, streams: dict[Any, Any]) -> bool:
        """Leaves the keys out that are no streams; whether there were any."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in streams:
                pipeline.type(key)
            kinds = dict(zip(list(streams), pipeline.execute(), strict=True))
        wrong = [key for key, kind in kinds.items() if kind not in {b"stream", b"none"}]
        for key in wrong:
            del streams[key]
            leave_out(DamagedError(Place(key), received="a key of another type", expected="a stream"))
        return bool(wrong)


def _flat(entries: Any) -> Any:
    """Undoes the extra list level that RESP3 replies carry."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _entry(key: str, entry_id: bytes, raw: Mapping[bytes, bytes] | None) -> Entry | None:
    fields = {text(name): text(value) for name, value in (raw or {}).items()}
    schedule_id = fields.get("schedule_id")
    try:
        event = Event.model_validate(
            {
                "state": fields.get("state"),
                "progress": Progress.model_validate_json(fields.get("progress", "")),
                "error": fields.get("error") or None,
                "schedule_url": schedule_url(schedule_id) if schedule_id else None,
            }
        )
    except ValidationError:
        leave_out(DamagedError(Place(key, text(entry_id)), received="an entry that is no event", expected="a state and progress"))
        return None
    return Entry(text(entry_id), event)
