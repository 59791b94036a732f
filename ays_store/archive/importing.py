"""Reads an archive into a store: checked to its last line before anything is written, then one table at a time, each whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from redis import Redis

from ays_client.contract import Method, Schedule, is_curve
from ays_store.archive import bodies
from ays_store.archive.lines import (
    CurveLine,
    End,
    Header,
    Line,
    ProfileLine,
    SamplesLine,
    ScheduleLine,
    Table,
    fail,
    read,
)
from ays_store.bodies import pack
from ays_store.cells import field_of, rank_of_schedule
from ays_store.results import Results
from ays_store.scripts import Script
from ays_store.tables import TableEntry

CELLS_MAX = 4096
"""Most schedules in a table: it has 18 solvers, 2 ends and 63 budgets."""


@dataclass
class Imported:
    """What an import has done.

    Attributes:
        tables: tables that were there in the file.
        kept: those of them that are newer here, or were made here with the present weights: they stayed as they are.
        cells: aliases that name another schedule now.
        schedules: schedules that were not here before.
        curves: loss curves.
        other_weights: models whose worker here has other weights: their schedules are served by id only, until it has these.
    """

    tables: int = 0
    kept: int = 0
    cells: int = 0
    schedules: int = 0
    curves: int = 0
    other_weights: set[str] = field(default_factory=set)


@dataclass
class _Part:
    """What is written at once: a table, or a schedule that is in none."""

    table: Table | None
    begin: int
    profile: str = ""
    schedules: list[tuple[Schedule, str, str]] = field(default_factory=list)


class Importer:
    """Reads archives into a store.

    Args:
        redis: where it is.
        results: its results.
    """

    def __init__(self, redis: Redis, results: Results) -> None:
        self._results = results
        self._import = Script(redis, "results/reading", "results/import")

    def read(self, file: BinaryIO, *, models: Sequence[str] = ()) -> Imported:
        """Import an archive; doing it again changes nothing.

        An alias moves on only to a schedule that more effort went into; a table of other weights gives way to a newer one only, and never
        while its weights are those of the present worker.

        Args:
            file: open for reading, at its beginning, and able to go back there.
            models: only these; empty: all.

        Raises:
            ArchiveError: it is no good archive; nothing was written.
            redis.RedisError: Redis does not take it; what was written by then is whole, and importing again goes on.
        """
        begin = file.tell()
        for _ in _parts(file):
            pass
        file.seek(begin)
        done = Imported()
        for part in _parts(file):
            if isinstance(part, CurveLine):
                curve = bodies.check_curve(part.body, 0)
                if not models or curve.id in models:
                    self._results.keep_curve(curve)
                    done.curves += 1
            elif not models or _model_of(part) in models:
                self._write(part, done)
        return done

    def _write(self, part: _Part, done: Imported) -> None:
        table = part.table
        head: list[str | bytes | int | float] = ["", "", "", "", "", 0]
        if table is not None:
            entry = TableEntry(variant=table.variant, fingerprint=table.fingerprint, created_at=table.created_at).model_dump_json()
            profile = pack(part.profile) if part.profile else ""
            head = [table.id, table.model, profile, entry, table.fingerprint, repr(table.created_at)]
        for schedule, body, samples in part.schedules:
            cell = "" if table is None else field_of(schedule.solver, schedule.terminal, schedule.nfe)
            head += [schedule.id, pack(body), cell, rank_of_schedule(schedule), pack(samples) if samples else ""]
        kept, cells, schedules, stale = self._import(*head)
        done.tables += table is not None
        done.kept += kept
        done.cells += cells
        done.schedules += schedules
        if stale and table is not None:
            done.other_weights.add(table.model)


def _model_of(part: _Part) -> str:
    return part.schedules[0][0].model if part.table is None else part.table.model


def _parts(file: BinaryIO) -> Iterator[_Part | CurveLine]:
    """The parts of an archive, each checked.

    Raises:
        ArchiveError: it is no good archive.
    """
    part: _Part | None = None
    for number, line in read(file):
        if part is not None and part.table is None and not isinstance(line, SamplesLine):
            yield part
            part = None
        match line:
            case Header() if number == 1:
                pass
            case Table() if part is None:
                bodies.check_table(line, number)
                part = _Part(line, number)
            case End() if part is not None:
                yield _ended(part, line, number)
                part = None
            case ScheduleLine() if part is None:
                part = _Part(None, number, schedules=[(bodies.check_schedule(line.body, number), line.body, "")])
            case CurveLine() if part is None:
                bodies.check_curve(line.body, number)
                yield line
            case ProfileLine() | ScheduleLine() | SamplesLine() if part is not None:
                _add(part, line, number)
            case _:
                fail(number, f"a line of kind {line.kind!r}", "another kind there: the lines are not in the order of an archive")
    if part is not None and part.table is not None:
        fail(part.begin, "a table without an end", "a whole table: export it again")
    if part is not None:
        yield part


def _add(part: _Part, line: Line, number: int) -> None:
    match line:
        case ProfileLine() if part.table is not None and not part.profile and not part.schedules:
            bodies.check_profile(line.body, part.table, number)
            part.profile = line.body
        case ScheduleLine() if part.table is not None and len(part.schedules) < CELLS_MAX:
            schedule = bodies.check_schedule(line.body, number)
            bodies.check_cell(schedule, part.table, number)
            part.schedules.append((schedule, line.body, ""))
        case SamplesLine() if part.schedules and not part.schedules[-1][2]:
            schedule, body, _ = part.schedules[-1]
            bodies.check_samples(line.body, schedule.id, number)
            part.schedules[-1] = (schedule, body, line.body)
        case _:
            fail(number, f"a line of kind {line.kind!r}", "another kind there: the lines are not in the order of an archive")


def _ended(part: _Part, end: End, number: int) -> _Part:
    if end.lines != number - part.begin + 1:
        fail(number, f"a table of {number - part.begin + 1} lines", f"{end.lines}, as it says")
    table = part.table
    if table is not None and table.method is Method.PROFILE and not part.profile and not is_curve(table.model):
        fail(number, f"the table {table.id!r} without its profile", "a profile before its schedules")
    places = {(schedule.solver, schedule.terminal, schedule.nfe) for schedule, _, _ in part.schedules}
    if len(places) != len(part.schedules):
        fail(number, "a table with two schedules for one cell", "one for each")
    return part
