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

REQUEST = JobRequest(model="digits", nfe=5, solver=Solver.FITTED)
"""What the demo asks for."""


def demo(stack: Stack, out: Path) -> None:
    """Start the stack, fit a schedule to the bundled model, show it and what it buys, and shut down.

    Args:
        stack: a stack that has not been started.
        out: folder of the picture.

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
        _say(f"POST /v1/jobs {REQUEST.model_dump_json(include={'model', 'nfe', 'solver'})}")
        asked = time.monotonic()
        schedule, cached = through_api(REQUEST, stack.url)
        how = "from the cache: this request was answered before" if cached else "fitted"
        _say(f"{how}, {time.monotonic() - asked:.2f} s")
    finally:
        stack.stop()
    errors = error_table(schedule)
    show(schedule_table(schedule), *([errors] if errors else []))
    sys.stdout.write(f"samples from the same noise, stock above, fitted below: {picture(schedule, out)}\n")


def picture(schedule: Schedule, out: Path) -> Path:
    """Draw samples of the best stock schedule and of this one from the same noise.

    Args:
        schedule: the answer.
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
