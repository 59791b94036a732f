"""Retention: tables of schedules that nobody has used for long are dropped, and whatever an operator wants gone.

A use is a lookup that a table or a schedule has answered, a job that it has answered, and its making. Services note uses now and then, so
the time of a use is known to within a minute or two.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis

from ays_client.contract import is_curve
from ays_store import keys
from ays_store.damage import Place, leaving_out, reading
from ays_store.records import text
from ays_store.scripts import Script

_AT_ONCE = 500


@dataclass
class Forgotten:
    """What was dropped.

    Attributes:
        tables: tables of schedules, each with its profile.
        schedules: schedules.
    """

    tables: int = 0
    schedules: int = 0


class Retention:
    """The uses of results in Redis, and their end."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._note = Script(redis, "retention/note")
        self._drop = Script(redis, "retention/drop")

    def note(self, names: Iterable[str]) -> None:
        """Notes that tables or schedules are in use; what is not stored is passed over.

        Args:
            names: Their ids.
        """
        wanted = list(names)
        for first in range(0, len(wanted), _AT_ONCE):
            self._note(*wanted[first : first + _AT_ONCE])

    def sweep(self, *, unused_seconds: float) -> Forgotten:
        """Drops the tables that have not been used for so long, with their schedules, samples and profiles.

        A table whose last use is not known counts as used now.

        Args:
            unused_seconds: Time since the last use of the table or of any of its schedules.
        """
        done = Forgotten()
        for model, table in self._tables():
            self._forget(model, table, done, unused_seconds=unused_seconds)
        return done

    def forget(self, model: str, *, profile_id: str | None = None) -> Forgotten:
        """Drops what is stored of a model, whenever it was used; its jobs and the model itself stay.

        Args:
            model: Its id, or that of a loss curve, which goes too.
            profile_id: Only the tables of this profile.
        """
        done = Forgotten()
        for table in self._tables_of(keys.variants(model)):
            if profile_id is None or table.partition(":")[0] == profile_id:
                self._forget(model, table, done, unused_seconds=None)
        if profile_id is None and is_curve(model):
            self._redis.delete(keys.curve(model))
        return done

    def _forget(self, model: str, table: str, done: Forgotten, *, unused_seconds: float | None) -> None:
        dropped = int(self._drop(table, model, "" if unused_seconds is None else int(unused_seconds)))
        if dropped >= 0:
            done.tables += 1
            done.schedules += dropped

    def _tables(self) -> Iterator[tuple[str, str]]:
        prefix = keys.variants("")
        for name in self._redis.scan_iter(match=f"{prefix}*", count=1000):
            model = text(name).removeprefix(prefix)
            for table in self._tables_of(text(name)):
                yield model, table

    def _tables_of(self, name: str) -> list[str]:
        with leaving_out(), reading(Place(name)):
            return [text(table) for table in self._redis.hkeys(name)]
        return []
