"""Whether the bodies in an archive are what they say: addresses are computed again, and levels and matrices have their shapes."""

import math
from itertools import pairwise
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ays_client.contract import Method, ProfileInfo, Schedule, Source, address, identity
from ays_client.curve import LossCurve
from ays_client.errors import ScheduleRefused
from ays_client.samples import SampleGrid
from ays_client.solvers import CARDS
from ays_client.trust import check_levels
from ays_store.archive.lines import Table, fail, invalid, parse_json

_PICTURE = "data:image/png;base64,"

Body = TypeVar("Body", bound=BaseModel)


def check_table(table: Table, number: int) -> None:
    """Whether a table is that of its variant.

    Raises:
        ArchiveError: it is not.
    """
    own = identity(table.variant)
    expected = own if table.method is Method.PROFILE else f"{own}:{table.method.value}"
    if (table.id, table.model) != (expected, table.variant.model):
        fail(number, f"the table {table.id[:60]!r} of {table.model}", f"{expected!r} of {table.variant.model}, the address of its variant")


def check_profile(body: str, table: Table, number: int) -> ProfileInfo:
    """Read the profile of a table.

    Raises:
        ArchiveError: it is not one, or another's.
    """
    profile = _read(ProfileInfo, body, number)
    own = (profile.id, profile.variant, profile.fingerprint)
    if table.method is not Method.PROFILE or own != (table.id, table.variant, table.fingerprint):
        fail(number, f"the profile {profile.id[:60]!r}", f"that of the table {table.id!r} and its weights")
    size, levels = len(profile.levels), profile.levels
    squares = [*profile.moments.values(), *profile.standard_errors.values()]
    triangle = (size + 1) * (size + 2) // 2
    good = (
        size == profile.variant.grid
        and min(levels) > 0
        and all(upper > lower for upper, lower in pairwise(levels))
        and set(profile.moments) == set(profile.standard_errors) == {"flow", "forward"}
        and all(len(matrix) == size and all(len(row) == size for row in matrix) for matrix in squares)
        and all(len(row) == size + 1 for row in profile.origin.values())
        and all(len(part) == triangle for parts in profile.groups.values() for part in parts)
        and (profile.loss is None or len(profile.loss) == size)
        and profile.paths > 0
    )
    if not good:
        fail(number, f"the profile {profile.id!r} with levels or matrices that do not fit each other", "G falling levels, matrices G x G")
    return profile


def check_schedule(body: str, number: int) -> Schedule:
    """Read a schedule.

    Raises:
        ArchiveError: it is not one, or its id is not the address of its content.
    """
    schedule = _read(Schedule, body, number)
    raw = parse_json(body, number)
    # Of the stored text, not of the model: a later version's model may have more fields.
    own_id = address({**raw, "id": "", "formats": {}})
    if schedule.id != own_id:
        fail(number, f"the schedule {schedule.id[:60]!r}", f"{own_id!r}, the address of its content")
    own = f"/v1/schedules/{own_id}"
    if any(not link.startswith(f"{own}?") and link != own for link in schedule.formats.values()):
        fail(number, f"links of the schedule {own_id!r} that lead elsewhere", f"links to {own}")
    try:
        check_levels(schedule)
    except ScheduleRefused as error:
        fail(number, f"the schedule {own_id!r}: {error}", "falling levels and timesteps")
    if (
        not CARDS[schedule.solver].fits(schedule.nfe)
        or CARDS[schedule.solver].steps(schedule.nfe) != schedule.steps
        or not _positive(schedule)
    ):
        fail(
            number,
            f"the schedule {own_id!r} with {schedule.steps} steps for nfe={schedule.nfe}",
            "the steps of its solver, levels above 0",
        )
    if schedule.source in {Source.PUBLISHED, Source.INTERPOLATED}:
        fail(
            number, f"the schedule {own_id!r} of source {schedule.source.value}", "one that is stored: every service computes those itself"
        )
    if schedule.validated != (schedule.error is not None):
        fail(number, f"the schedule {own_id!r} that says validated={schedule.validated}", "an error estimate where, and only where, it is")
    return schedule


def check_cell(schedule: Schedule, table: Table, number: int) -> None:
    """Whether a schedule may be a cell of a table.

    Raises:
        ArchiveError: it is of another model, method or weights.
    """
    own = (schedule.model, schedule.fingerprint, schedule.provenance.method)
    if own != (table.model, table.fingerprint, table.method):
        fail(
            number,
            f"the schedule {schedule.id!r} of {own[0]}, {own[2].value}",
            f"one of {table.model}, {table.method.value}, and its weights",
        )


def check_samples(body: str, schedule_id: str, number: int) -> None:
    """Whether samples are of a schedule.

    Raises:
        ArchiveError: they are not.
    """
    grid = _read(SampleGrid, body, number)
    if grid.schedule_id != schedule_id or not grid.image.startswith(_PICTURE):
        fail(number, f"samples of {grid.schedule_id[:60]!r}", f"a PNG of the schedule before them, {schedule_id!r}")


def check_curve(body: str, number: int) -> LossCurve:
    """Read a loss curve.

    Raises:
        ArchiveError: it is not one.
    """
    return _read(LossCurve, body, number)


def _read(kind: type[Body], body: str, number: int) -> Body:
    found = parse_json(body, number)
    if not isinstance(found, dict):
        fail(number, "a body that is no object", f"a {kind.__name__}")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        invalid(number, error)
    except ValueError as error:
        fail(number, f"a body that cannot be read ({str(error)[:80]})", f"a {kind.__name__}")


def _positive(schedule: Schedule) -> bool:
    evaluated = schedule.sigmas[:-1]
    return bool(evaluated) and all(sigma > 0 and math.isfinite(sigma) for sigma in evaluated)
