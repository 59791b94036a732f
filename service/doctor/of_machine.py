"""The machine that it runs on: its environment and its disk."""

import difflib
import os
import shutil
from collections.abc import Iterator, Set
from pathlib import Path

from ays_process.finding import Finding, ok, warn

_ENOUGH_DISK = 2**30
"""Free bytes of a disk that holds an append-only file, which is rewritten beside itself."""


def known_variables(known: Set[str]) -> Iterator[Finding]:
    """Variables that nothing reads, probably misspelt.

    Args:
        known: those that something reads; empty where that cannot be told.
    """
    for name in sorted(os.environ):
        if known and name.startswith("AYS_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield warn("variables", f"nothing reads {name}", f"rename it to {close[0]}" if close else "unset it")


def disk(data: Path) -> Finding:
    """Room for the embedded Redis.

    Args:
        data: its folder; need not exist yet.
    """
    folder = next(each for each in (data.resolve(), *data.resolve().parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    seen = f"{free / 2**30:.1f} GiB free for {data}"
    if not os.access(folder, os.W_OK):
        return warn("disk", f"{folder} cannot be written to", "choose another folder with AYS_DATA, or change its owner")
    return ok("disk", seen) if free > _ENOUGH_DISK else warn("disk", seen, "free some, or choose another folder with AYS_DATA")
