"""`ays curve`: schedules from a table of noise levels and denoising losses."""

import csv
import math
from pathlib import Path
from typing import NoReturn

from ays_client import JobFailed
from ays_client.contract import Schedule
from ays_client.curve import POINTS_MAX
from service.cli.connect import connect
from service.cli.exits import CommandError, ExitCode
from service.cli.optimize import watch

_LONGEST_FILE = 1 << 20


def read_curve(path: Path) -> dict[str, list[float]]:
    """Read a CSV file: sigma and loss in its first two columns, perhaps a line of titles, comments after `#`.

    Args:
        path: the file.

    Returns:
        `sigma` and `loss`.

    Raises:
        CommandError: it cannot be read, or a line does not hold two numbers.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LONGEST_FILE)
    except (OSError, UnicodeDecodeError) as error:
        _refuse(str(error), f"in {path} a CSV file in UTF-8 with the columns sigma, loss")
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if len(filled) > POINTS_MAX + 1:
        _refuse(f"{len(filled)} lines in {path}", f"at most {POINTS_MAX}")
    rows = [(number, _numbers(line)) for number, line in filled]
    if rows and rows[0][1] is None:
        rows = rows[1:]  # titles
    for number, row in rows:
        if row is None:
            _refuse(f"{lines[number - 1][1]!r} in line {number} of {path}", "two finite numbers, sigma and loss")
    found = [row for _, row in rows if row is not None]
    return {"sigma": [sigma for sigma, _ in found], "loss": [loss for _, loss in found]}


def _numbers(line: str) -> tuple[float, float] | None:
    mark = next((mark for mark in (",", ";", "\t") if mark in line), " ")
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True)) if cell.strip()]
    try:
        sigma, loss = (float(cell) for cell in cells[:2])
    except ValueError:
        return None
    return (sigma, loss) if math.isfinite(sigma) and math.isfinite(loss) else None


def _refuse(received: str, expected: str) -> NoReturn:
    msg = f"received {received}; expected {expected}"
    raise CommandError(msg, ExitCode.BAD_INPUT)


def curve_through_api(body: dict[str, object], url: str) -> Schedule:
    """Submit a curve and wait for its schedule, with progress on standard error.

    Args:
        body: body of `POST /v1/curves`.
        url: address of the service.
    """
    with connect(url) as client:
        job = client.submit_curve(body)
        if not job.state.final:
            job = watch(client, job)
        if job.schedule_id is None:
            raise JobFailed(job)
        return client.schedule_by_id(job.schedule_id)
