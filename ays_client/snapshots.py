"""The last good answers on disk: a server that starts while the schedule service is away has the schedules of its last run."""

import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ays_client.contract import Schedule, Target
from ays_client.errors import ScheduleRefused
from ays_client.trust import check_answer


class Snapshot(BaseModel):
    """A schedule and the tag that the service gave it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    etag: str | None
    schedule: Schedule


class Snapshots:
    """A folder of snapshots; one that cannot be read or written is as good as none.

    Args:
        folder: made when the first snapshot is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str, asked: Target) -> Snapshot | None:
        """The snapshot of a question.

        Args:
            key: name of the question, safe as a file name.
            asked: the question.

        Returns:
            None where there is none, or one that does not answer the question.
        """
        try:
            snapshot = Snapshot.model_validate_json(self._path(key).read_bytes())
            check_answer(snapshot.schedule, asked)
        except (OSError, ValidationError, ScheduleRefused):
            return None
        return snapshot

    def write(self, key: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, whole or not at all.

        Args:
            key: name of the question.
            snapshot: its answer.
        """
        part = ""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=self._folder, prefix=key)
            with os.fdopen(handle, "w") as file:
                file.write(snapshot.model_dump_json())
            os.replace(part, self._path(key))
        except OSError:
            if part:
                Path(part).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def cache_folder() -> Path | None:
    """The user's folder for caches; None for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "align-your-steps"
    except RuntimeError:
        return None
