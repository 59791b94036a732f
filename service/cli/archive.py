"""`ays export` and `ays import`: profiles and schedules as a file."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfileobj

from ays_store import ArchiveError, DamagedError, Imported
from service.cli.exits import CommandError, ExitCode
from service.cli.opened import opened_store

_TOLD = 20
STREAM = Path("-")
"""In place of a file: standard output or input."""


def export_archive(file: Path, *, models: Sequence[str], curves: bool, data: Path) -> ExitCode:
    """Write an archive; a file appears whole or not at all. What is damaged in Redis is left out and told.

    Args:
        file: where to; `-` for standard output.
        models: only these; empty: all.
        curves: whether loss curves and their tables are written.
        data: folder of the embedded Redis.

    Returns:
        `UNHEALTHY` when something was left out.

    Raises:
        CommandError: the file cannot be written.
    """
    damaged: list[DamagedError] = []
    try:
        with opened_store(data) as store:
            if file == STREAM:
                counts = store.exporter.write(sys.stdout.buffer, models=models, curves=curves, damaged=damaged.append)
                sys.stdout.buffer.flush()
            else:
                part = file.with_name(f".{file.name}.{os.getpid()}")
                try:
                    with part.open("xb") as archive:
                        counts = store.exporter.write(archive, models=models, curves=curves, damaged=damaged.append)
                        archive.flush()
                        os.fsync(archive.fileno())
                    part.replace(file)
                finally:
                    part.unlink(missing_ok=True)
    except OSError as error:
        message = f"received the file {str(file)!r}: {error.strerror}; expected one that can be written"
        raise CommandError(message, ExitCode.BAD_INPUT) from None
    sys.stderr.write(f"exported {counts['tables']} tables, {counts['schedules']} schedules, {counts['curves']} curves\n")
    for each in damaged[:_TOLD]:
        sys.stderr.write(f"left out: {each}\n")
    if damaged:
        sys.stderr.write(f"{len(damaged)} damaged values were left out; all others are in the file\n")
    return ExitCode.UNHEALTHY if damaged else ExitCode.OK


def import_archive(file: Path, *, models: Sequence[str], data: Path) -> None:
    """Read an archive into the store.

    Args:
        file: the archive; `-` for standard input.
        models: only these; empty: all.
        data: folder of the embedded Redis.

    Raises:
        CommandError: it is no good archive; nothing was written.
    """
    try:
        # Read twice: nothing is written before the last line has been checked.
        with tempfile.TemporaryFile() if file == STREAM else file.open("rb") as archive:
            if file == STREAM:
                copyfileobj(sys.stdin.buffer, archive)
                archive.seek(0)
            with opened_store(data) as store:
                done = store.importer.read(archive, models=models)
    except ArchiveError as error:
        message = f"{file} is not imported, nothing was written: {error}"
        raise CommandError(message, ExitCode.BAD_INPUT) from None
    except OSError as error:
        message = f"received the file {str(file)!r}: {error.strerror}; expected an archive that `ays export` wrote"
        raise CommandError(message, ExitCode.BAD_INPUT) from None
    sys.stderr.write(_told(done))


def _told(done: Imported) -> str:
    lines = [f"imported {done.tables} tables: {done.schedules} new schedules, {done.cells} cells changed, {done.curves} curves"]
    if done.kept:
        lines.append(f"{done.kept} tables stayed as they were: here they are newer, or of the weights that the worker has")
    if done.other_weights:
        names = ", ".join(sorted(done.other_weights))
        lines.append(f"note: the worker here has other weights of {names}; these schedules are served by id only")
    return "\n".join(lines) + "\n"
