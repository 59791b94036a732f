"""A running job on standard error: a live bar on a terminal, one line per stage elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from ays_client.contract import Progress

_STAGES = {
    "waiting": "waiting for a worker",
    "loading": "loading the model",
    "profile": "measuring the profile",
    "sweep": "searching ten steps",
    "subdivide": "searching twenty and forty steps",
    "table": "optimizing all schedules",
    "guard": "comparing with stock schedules",
    "validate": "searching",
    "report": "measuring the error",
    "store": "storing",
}


class ProgressDisplay:
    """Shows the progress of one job; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("submitted", total=None, detail="")
        self._stage = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, message: str) -> None:
        """Write a line above the bar."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def update(self, progress: Progress) -> None:
        """Show where the job is."""
        description = _STAGES[progress.stage]
        if progress.stage != self._stage:
            self._stage = progress.stage
            if not self._console.is_terminal:
                self.say(description)
        self._bars.update(
            self._task,
            description=description,
            completed=progress.done,
            total=progress.total or None,
            detail=_detail(progress),
        )


def _detail(progress: Progress) -> str:
    parts = []
    if progress.evaluations:
        parts.append(f"{progress.evaluations:,} evaluations")
    if progress.evaluations_per_second:
        parts.append(f"{progress.evaluations_per_second:,.0f}/s")
    if progress.eta_seconds is not None:
        parts.append(f"{progress.eta_seconds:.0f} s left")
    return "  ".join(parts)
