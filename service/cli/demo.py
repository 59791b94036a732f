"""`ays demo`: the main job end to end on this machine, then everything is shut down again."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ays_client.contract import JobRequest, Schedule, Solver
from ays_process.commands import module_command
from service.cli.exits import CommandError, ExitCode
from service.cli.optimize import through_api
from service.cli.tables import error_table, schedule_table, show
from service.local.child import die_with_parent
from service.local.stack import Stack

REQUESTS = tuple(JobRequest(model="digits", nfe=nfe, solver=Solver.FITTED) for nfe in (5, 8))
"""What the demo asks for: few evaluations, and as many as a stock schedule needs to do as well."""


def demo(stack: Stack, out: Path) -> None:
    """Start the stack, fit schedules for the bundled model, show them and what they buy, and shut down.

    Args:
        stack: a stack that has not been started.
        out: folder of the pictures.

    Raises:
        StackError: the stack does not come up.
        EmbeddedRedisError: its Redis does not come up.
        ServiceError: the job failed.
        CommandError: the picture could not be made.
    """
    start = time.monotonic()
    try:
        stack.start()
        _say("starting Redis, the API and one worker ...")
        stack.wait_ready(stopping=lambda: False)
        _say(f"ready at {stack.url} after {time.monotonic() - start:.1f} s")
        schedules = [_answered(request, stack.url) for request in REQUESTS]
    finally:
        stack.stop()
    for schedule in schedules:
        errors = error_table(schedule)
        show(schedule_table(schedule), *([errors] if errors else []))
    for schedule in schedules:
        sys.stdout.write(f"samples from the same noise, stock above, fitted below: {picture(schedule, out)}\n")
    sys.stdout.write("".join(f"{line}\n" for line in bought(*schedules)))


def bought(few: Schedule, more: Schedule) -> list[str]:
    """What the fit buys, in sentences: error at equal evaluations, and few fitted evaluations beside more of the best stock schedule.

    Args:
        few: an answer.
        more: an answer at more evaluations.

    Returns:
        At most three lines; none where nothing was measured.
    """
    lines = []
    for schedule in (few, more):
        if schedule.error is not None and schedule.error.ratio is not None:
            value, (low, high) = schedule.error.ratio.value, schedule.error.ratio.interval
            of = f"of {schedule.error.best_stock}'s, the best stock schedule"
            lines.append(f"{schedule.nfe} fitted evaluations: {value:.2g} [{low:.2g}, {high:.2g}] of the error {of}")
    if few.error is not None and more.error is not None and more.error.best_stock is not None:
        ours, stock = few.error.ours, more.error.stock[more.error.best_stock]
        lines.append(f"{few.nfe} fitted evaluations: error {ours.mean:.3g}; {more.nfe} of the best stock schedule: {stock.mean:.3g}")
    return lines


def _answered(request: JobRequest, url: str) -> Schedule:
    _say(f"POST /v1/jobs {request.model_dump_json(include={'model', 'nfe', 'solver'})}")
    asked = time.monotonic()
    schedule, cached = through_api(request, url)
    how = "from the cache: this request was answered before" if cached else "fitted"
    _say(f"{how}, {time.monotonic() - asked:.2f} s")
    return schedule


def picture(schedule: Schedule, out: Path) -> Path:
    """Draw samples of the stock and of the optimized schedule from the same noise.

    Args:
        schedule: the optimized schedule.
        out: folder of the picture, created if missing.

    Raises:
        CommandError: drawing failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{schedule.model}-{schedule.nfe}-{schedule.solver.value}.png"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "schedule.json"
        source.write_text(schedule.model_dump_json())
        command = module_command("worker.tasks.picture", str(source), str(path))
        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=die_with_parent())
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        message = f"the picture could not be drawn: {words[-1] if words else f'status {done.returncode}'}"
        raise CommandError(message, ExitCode.JOB_FAILED)
    return path


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
