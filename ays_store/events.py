"""Events: one Redis stream per job; an entry's id is that of the server-sent event, so a reader can resume after any of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from redis import Redis

from ays_client.contract import Event, Progress
from ays_store import keys
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
        found: Any = self._redis.xread(streams, count=count, block=block)
        rows = found.items() if isinstance(found, dict) else found or []
        cut = len(keys.events(""))
        return {text(key)[cut:]: [_entry(*row) for row in _flat(entries)] for key, entries in rows}


def _flat(entries: Any) -> Any:
    """Undoes the extra list level that RESP3 replies carry."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _entry(entry_id: bytes, raw: Mapping[bytes, bytes]) -> Entry:
    fields = {text(name): text(value) for name, value in raw.items()}
    schedule_id = fields["schedule_id"]
    event = Event.model_validate(
        {
            "state": fields["state"],
            "progress": Progress.model_validate_json(fields["progress"]),
            "error": fields["error"] or None,
            "schedule_url": schedule_url(schedule_id) if schedule_id else None,
        }
    )
    return Entry(text(entry_id), event)
