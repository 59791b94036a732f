"""`ays forget`: results that are wanted no more."""

import sys
from pathlib import Path

from service.cli.exits import CommandError, ExitCode
from service.cli.opened import opened_store


def forget_results(model: str, *, profile: str | None, data: Path) -> None:
    """Drop the profiles and schedules of a model.

    Args:
        model: its id, or that of a loss curve.
        profile: only those of this profile.
        data: folder of the embedded Redis.

    Raises:
        CommandError: nothing of it is stored.
    """
    with opened_store(data) as store:
        done = store.retention.forget(model, profile_id=profile)
    if not done.tables:
        received = f"{model!r}" if profile is None else f"{model!r} and the profile {profile!r}"
        message = f"received {received}; expected a model that has stored schedules; `ays models` shows which are measured"
        raise CommandError(message, ExitCode.BAD_INPUT)
    sys.stderr.write(f"forgot {done.tables} tables with {done.schedules} schedules; a job makes them anew\n")
