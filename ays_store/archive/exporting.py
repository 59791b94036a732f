"""Writes an archive: one table after the other, each as it is at one moment."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from redis import Redis

from ays_client.contract import Method, Schedule, identity, is_curve
from ays_client.version import VERSION
from ays_store import keys
from ays_store.archive.lines import CurveLine, End, Header, ProfileLine, SamplesLine, ScheduleLine, Table, Writer
from ays_store.bodies import unpack
from ays_store.records import text
from ays_store.results import TableEntry

_AT_ONCE = 200


class Exporter:
    """Writes the results of a store to files.

    Args:
        redis: where they are.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    def write(self, file: BinaryIO, *, models: Sequence[str] = (), curves: bool = True) -> dict[str, int]:
        """Write an archive, in memory that does not grow with the number of tables.

        Args:
            file: open for writing.
            models: only these; empty: all.
            curves: whether loss curves and their tables are written.

        Returns:
            How many tables, schedules and curves it has.
        """
        writer, written = Writer(file), set[bytes]()
        counts = {"tables": 0, "schedules": 0, "curves": 0}
        writer.write(Header(code_version=VERSION))

        def wanted(model: str) -> bool:
            return (not models or model in models) and (curves or not is_curve(model))

        for model in filter(wanted, self._names(keys.variants("*"))):
            for table_id in sorted(text(raw) for raw in self._redis.hkeys(keys.variants(model))):
                counts["tables"] += self._write_table(writer, model, table_id, written)
        self._write_others(writer, wanted, written)
        for curve_id in filter(wanted, self._names(keys.curve("*"))):
            raw = self._redis.get(keys.curve(curve_id))
            if raw is not None:
                writer.write(CurveLine(body=unpack(raw).decode()))
                counts["curves"] += 1
        counts["schedules"] = len(written)
        writer.close()
        return counts

    def _write_table(self, writer: Writer, model: str, table_id: str, written: set[bytes]) -> bool:
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hget(keys.variants(model), table_id)
            pipeline.hgetall(keys.cells(table_id))
            pipeline.get(keys.profile(table_id))
            raw, cells, profile = pipeline.execute()
        if raw is None:
            return False
        entry, start = TableEntry.model_validate_json(raw), writer.lines
        method = table_id.removeprefix(identity(entry.variant)).removeprefix(":") or Method.PROFILE
        writer.write(Table(id=table_id, model=model, method=Method(method), **dict(entry)))
        if profile is not None:
            writer.write(ProfileLine(body=unpack(profile).decode()))
        for schedule_id, body in self._bodies([text(cells[field]).split(" ")[0] for field in sorted(cells)]):
            self._write_schedule(writer, schedule_id, body)
            written.add(bytes.fromhex(schedule_id))
        writer.write(End(lines=writer.lines - start + 1))
        return True

    def _write_others(self, writer: Writer, wanted: Callable[[str], bool], written: set[bytes]) -> None:
        """Write the schedules that only jobs and links name."""
        cut = len(keys.schedule(""))
        found: list[str] = []
        for raw in self._redis.scan_iter(keys.schedule("*"), count=_AT_ONCE):
            schedule_id = text(raw)[cut:]
            if bytes.fromhex(schedule_id) not in written:
                found.append(schedule_id)
        for schedule_id, body in self._bodies(sorted(set(found))):
            if wanted(Schedule.model_validate_json(body).model):
                self._write_schedule(writer, schedule_id, body)
                written.add(bytes.fromhex(schedule_id))

    def _write_schedule(self, writer: Writer, schedule_id: str, body: bytes) -> None:
        writer.write(ScheduleLine(body=body.decode()))
        samples = self._redis.get(keys.samples(schedule_id))
        if samples is not None:
            writer.write(SamplesLine(body=unpack(samples).decode()))

    def _bodies(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            for schedule_id, raw in zip(some, self._redis.mget([keys.schedule(each) for each in some]), strict=True):
                if raw is not None:
                    yield schedule_id, unpack(raw)

    def _names(self, pattern: str) -> list[str]:
        """What stands for the star in the names of the keys of a pattern."""
        cut = len(pattern) - 1
        return sorted({text(raw)[cut:] for raw in self._redis.scan_iter(pattern, count=_AT_ONCE)})
