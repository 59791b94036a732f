"""Writes an archive: one table after the other, each as it is at one moment."""

import re
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeVar

from redis import Redis

from ays_client.contract import Method, identity, is_curve
from ays_client.version import VERSION
from ays_store import keys
from ays_store.archive.bodies import check_cell, check_curve, check_profile, check_samples, check_schedule, check_table
from ays_store.archive.lines import ArchiveError, CurveLine, End, Header, ProfileLine, SamplesLine, ScheduleLine, Table, Writer
from ays_store.bodies import unpack
from ays_store.damage import DamagedError, Place, leave_out, leaving_out, parsed, reading
from ays_store.records import text
from ays_store.tables import TableEntry

_AT_ONCE = 200
_HEX = re.compile(r"(?:[0-9a-f]{2})+")

Checked = TypeVar("Checked")
Damaged = Callable[[DamagedError], None]


class Exporter:
    """Writes the results of a store to files.

    Args:
        redis: where they are.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    def write(self, file: BinaryIO, *, models: Sequence[str] = (), curves: bool = True, damaged: Damaged = leave_out) -> dict[str, int]:
        """Write an archive, in memory that does not grow with the number of tables; what no import would take is left out.

        Args:
            file: open for writing.
            models: only these; empty: all.
            curves: whether loss curves and their tables are written.
            damaged: told of each value that is left out.

        Returns:
            How many tables, schedules and curves it has.
        """
        return _Export(self._redis, file, models, curves, damaged).run()


class _Export:
    """One archive in the making."""

    def __init__(self, redis: Any, file: BinaryIO, models: Sequence[str], curves: bool, damaged: Damaged) -> None:
        self._redis, self._writer, self._damaged = redis, Writer(file), damaged
        self._models, self._curves = models, curves
        self._written, self._refused = set[bytes](), set[str]()

    def run(self) -> dict[str, int]:
        self._writer.write(Header(code_version=VERSION))
        tables = 0
        for model in filter(self._wanted, self._names(keys.variants("*"))):
            for table_id in self._tables_of(model):
                with leaving_out(self._damaged):
                    tables += self._write_table(model, table_id)
        self._write_others()
        curves = sum(self._write_curve(curve_id) for curve_id in filter(self._wanted, self._names(keys.curve("*"))))
        self._writer.close()
        return {"tables": tables, "schedules": len(self._written), "curves": curves}

    def _wanted(self, model: str) -> bool:
        return (not self._models or model in self._models) and (self._curves or not is_curve(model))

    def _tables_of(self, model: str) -> list[str]:
        found: list[bytes] = []
        with leaving_out(self._damaged), reading(Place(keys.variants(model))):
            found = self._redis.hkeys(keys.variants(model))
        return sorted(map(text, found))

    def _write_table(self, model: str, table_id: str) -> bool:
        with reading(Place(keys.cells(table_id))), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hget(keys.variants(model), table_id)
            pipeline.hgetall(keys.cells(table_id))
            pipeline.get(keys.profile(table_id))
            raw, cells, profile = pipeline.execute()
        if raw is None:
            return False
        table, start = _table(model, table_id, raw), self._writer.lines
        self._writer.write(table)
        if profile is not None:
            with leaving_out(self._damaged):
                place = Place(keys.profile(table_id))
                body = text(unpack(profile, place))
                _good(place, lambda: check_profile(body, table, 0))
                self._writer.write(ProfileLine(body=body))
        self._write_schedules([text(cells[field]).split(" ")[0] for field in sorted(cells)], table)
        self._writer.write(End(lines=self._writer.lines - start + 1))
        return True

    def _write_others(self) -> None:
        """Write the schedules that only jobs and links name."""
        cut, found = len(keys.schedule("")), set[str]()
        for raw in self._redis.scan_iter(keys.schedule("*"), count=_AT_ONCE):
            if _short(text(raw)[cut:]) not in self._written:
                found.add(text(raw)[cut:])
        self._write_schedules(sorted(found - self._refused), None)

    def _write_schedules(self, ids: Sequence[str], table: Table | None) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            for schedule_id, raw in zip(some, self._redis.mget([keys.schedule(each) for each in some]), strict=True):
                if raw is not None:
                    self._write_if_good(schedule_id, raw, table)

    def _write_if_good(self, schedule_id: str, raw: bytes, table: Table | None) -> None:
        try:
            self._write_schedule(schedule_id, raw, table)
        except DamagedError as error:
            # Once, though a table may name it, too.
            self._refused.add(schedule_id)
            self._damaged(error)

    def _write_schedule(self, schedule_id: str, raw: bytes, table: Table | None) -> None:
        place = Place(keys.schedule(schedule_id))
        body = text(unpack(raw, place))
        schedule = _good(place, lambda: check_schedule(body, 0))
        if schedule.id != schedule_id:
            raise DamagedError(place, received="another schedule", expected="that of its address")
        if table is not None:
            _good(place, lambda: check_cell(schedule, table, 0))
        elif not self._wanted(schedule.model):
            return
        self._writer.write(ScheduleLine(body=body))
        self._written.add(_short(schedule_id))
        with leaving_out(self._damaged):
            self._write_samples(schedule_id)

    def _write_samples(self, schedule_id: str) -> None:
        place = Place(keys.samples(schedule_id))
        with reading(place):
            raw = self._redis.get(place.key)
        if raw is not None:
            body = text(unpack(raw, place))
            _good(place, lambda: check_samples(body, schedule_id, 0))
            self._writer.write(SamplesLine(body=body))

    def _write_curve(self, curve_id: str) -> bool:
        place, written = Place(keys.curve(curve_id)), False
        with leaving_out(self._damaged):
            with reading(place):
                raw = self._redis.get(place.key)
            if raw is not None:
                body = text(unpack(raw, place))
                _good(place, lambda: check_curve(body, 0))
                self._writer.write(CurveLine(body=body))
                written = True
        return written

    def _names(self, pattern: str) -> list[str]:
        """What stands for the star in the names of the keys of a pattern."""
        cut = len(pattern) - 1
        return sorted({text(raw)[cut:] for raw in self._redis.scan_iter(pattern, count=_AT_ONCE)})


def _short(schedule_id: str) -> bytes:
    """An id in half the memory, where it is one."""
    return bytes.fromhex(schedule_id) if _HEX.fullmatch(schedule_id) else schedule_id.encode()


def _table(model: str, table_id: str, raw: bytes) -> Table:
    place = Place(keys.variants(model), table_id)
    entry = parsed(TableEntry, raw, place)
    method = table_id.removeprefix(identity(entry.variant)).removeprefix(":") or Method.PROFILE.value
    try:
        table = Table(id=table_id, model=model, method=Method(method), **dict(entry))
    except ValueError:
        raise DamagedError(place, received="an entry of another table", expected="that of its own variant and method") from None
    _good(place, lambda: check_table(table, 0))
    return table


def _good(place: Place, check: Callable[[], Checked]) -> Checked:
    """What a check of the import returns.

    Raises:
        DamagedError: The import would refuse it.
    """
    try:
        return check()
    except ArchiveError as error:
        received = str(error).removeprefix("line 0: received ")
        raise DamagedError(place, received=received[:200], expected="what an import takes") from None
