"""Cells: what the aliases of a table name, and how they are written."""

import re
from typing import NamedTuple

from ays_client.contract import Effort, Schedule, Solver, Terminal
from ays_store.damage import DamagedError, Place
from ays_store.records import text

_CELL = re.compile(r"([0-9a-f]{1,64}) ([0-3])")

_RANKS = {Effort.FAST: 1, Effort.STANDARD: 2, Effort.MAX: 3}


def rank_of(effort: Effort) -> int:
    """How much effort a request asks for: 1, 2 or 3; a schedule that was only copied along has rank 0."""
    return _RANKS[effort]


class Cell(NamedTuple):
    """What an alias names."""

    schedule_id: str
    rank: int


def rank_of_schedule(schedule: Schedule) -> int:
    """How much effort went into a schedule: that of its validation; 0 for one that was only copied along."""
    effort = schedule.provenance.effort
    if effort is None or (effort is not Effort.FAST and not schedule.validated):
        return 0
    return _RANKS[effort]


def place_of(place: Place) -> tuple[Solver, Terminal, int]:
    """The cell that a field of a table names.

    Raises:
        DamagedError: It names none.
    """
    try:
        solver, terminal, nfe = str(place.field).split(":")
        return Solver(solver), Terminal(terminal), int(nfe)
    except ValueError:
        raise DamagedError(place, received="a field of another form", expected="solver:terminal:nfe") from None


def cell_from(raw: bytes, place: Place) -> Cell:
    """What an alias names.

    Args:
        raw: As it is stored.
        place: Where it is.

    Raises:
        DamagedError: It names nothing.
    """
    found = _CELL.fullmatch(text(raw))
    if found is None:
        raise DamagedError(place, received="a value of another form", expected="the id of a schedule and its rank")
    return Cell(found[1], int(found[2]))


def field_of(solver: Solver, terminal: Terminal, nfe: int) -> str:
    """Name of a cell within its table."""
    return f"{solver}:{terminal}:{nfe}"
