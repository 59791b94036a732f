"""What the pipeline needs from where it runs, and the stages of its work as progress."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from ays_client.contract import ProfileInfo, Progress, Schedule

Stage = Literal["loading", "profile", "sweep", "subdivide", "table", "guard", "validate", "report", "store"]

_SHOW_SECONDS = 0.1


class Host(Protocol):
    """Where the pipeline runs: it shows progress, has shards measured and knows what is stored."""

    def report(self, progress: Progress) -> None:
        """Show progress; may raise to stop the job (canceled, drained)."""

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str] | None:
        """Bodies (JSON) of shards of this variant and these weights by name; what is not stored yet, `measure` measures here or elsewhere.

        `arrived` is told of each that was measured elsewhere meanwhile. None: a whole profile has
        been stored since `profile` looked for one.
        """

    def checkpoint(self) -> str | None:
        """What an earlier attempt at this job has kept last; None: nothing."""

    def keep(self, checkpoint: str) -> None:
        """Keep JSON for the next attempt, in place of what was kept before; may raise to stop the job. The job's end drops it."""

    def profile(self) -> ProfileInfo | None:
        """The stored profile of this variant and these weights; its own, or that of the same weights under another name."""

    def publish(self, profile: ProfileInfo, table: list[Schedule]) -> None:
        """Store a new profile and its table while the requested answer is still sought; may raise to stop the job."""

    def validated(self) -> list[Schedule] | None:
        """The stored schedules of that profile that were validated; None: nothing is stored, so no table is wanted."""


class Stages:
    """Turns counts of evaluations into progress with a rate and a remaining time."""

    def __init__(self, host: Host) -> None:
        """Report to `host`."""
        self._host = host
        self._stage: Stage = "loading"
        self._total = self._before = self._evaluations = self._elsewhere = 0
        self._entered = self._shown = time.monotonic()

    def enter(self, stage: Stage, total: int = 0) -> None:
        """Enter a stage that is expected to take `total` evaluations (0: none)."""
        self._stage, self._total, self._before = stage, total, self._evaluations
        self._elsewhere = 0
        self._entered = time.monotonic()
        self._show()

    def evaluated(self, evaluations: int) -> None:
        """Take note of the number of evaluations since the job began."""
        self._evaluations = evaluations
        if time.monotonic() - self._shown >= _SHOW_SECONDS:
            self._show()

    def elsewhere(self, evaluations: int) -> None:
        """Take note of evaluations that others have done for this stage."""
        self._elsewhere += evaluations
        self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        done = self._evaluations - self._before + self._elsewhere
        seconds = self._shown - self._entered
        rate = done / seconds if done and seconds > 0 else 0.0
        self._host.report(
            Progress(
                stage=self._stage,
                done=done,
                total=max(self._total, done),
                evaluations=self._evaluations,
                evaluations_per_second=rate,
                eta_seconds=max(0, self._total - done) / rate if rate else None,
            )
        )
