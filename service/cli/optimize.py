"""`ays optimize`: ask for a schedule and watch it being made, through the API or in a process of its own."""

import json
import subprocess
import tempfile

from ays_client import Client, JobFailed
from ays_client.contract import Job, JobRequest, JobState, Priority, Progress, Schedule
from ays_client.curve import CurveRequest
from ays_process.commands import module_command
from service.cli.connect import connect
from service.cli.exits import CommandError, ExitCode
from service.cli.progress import ProgressDisplay
from service.local.child import die_with_parent


def through_api(
    request: JobRequest, url: str, *, webhook: str | None = None, priority: Priority = Priority.INTERACTIVE
) -> tuple[Schedule, bool]:
    """Submit a request and wait for its schedule, with progress on standard error.

    Args:
        request: what is asked for.
        url: address of the service.
        webhook: URL that the service tells how the job ends, too.
        priority: how urgent it is.

    Returns:
        The schedule, and whether it was there already.

    Raises:
        ServiceError: the service refused, is away, or the job failed.
    """
    with connect(url) as client:
        job = client.submit(request, webhook=webhook, priority=priority)
        cached = job.state is JobState.SUCCEEDED
        if not cached:
            job = watch(client, job)
        if job.schedule_id is None:
            raise JobFailed(job)
        return client.schedule_by_id(job.schedule_id), cached


def watch(client: Client, job: Job) -> Job:
    """Wait until a job has succeeded, with progress on standard error."""
    with ProgressDisplay() as display:
        if job.live_workers == 0:
            display.say(f"job {job.id} is queued, but no worker is alive to take it; `ays worker` starts one")
        for event in client.events(job.id):
            if event.state is JobState.LOST:
                display.say("the worker of this job has gone silent; waiting for another to take it")
            display.update(event.progress)
    return client.wait(job.id)


def in_process(request: JobRequest | CurveRequest) -> Schedule:
    """Compute a schedule in a process of its own, without the service and without Redis.

    Args:
        request: what is asked for.

    Raises:
        CommandError: the request cannot be answered, or the computation failed.
    """
    with tempfile.TemporaryFile() as complaints, ProgressDisplay() as display:
        process = subprocess.Popen(
            module_command("worker.process.local"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            preexec_fn=die_with_parent(),
        )
        try:
            return _follow(process, request, display)
        except _SilentEnd:
            complaints.seek(0)
            words = complaints.read().decode(errors="replace").strip().splitlines()
            status = process.wait()
            message = f"the worker process ended with status {status}: {words[-1] if words else 'it said nothing'}"
            raise CommandError(message, ExitCode.JOB_FAILED) from None
        finally:
            process.terminate()
            process.wait()


class _SilentEnd(Exception):
    """The process ended without an answer."""


def _follow(process: "subprocess.Popen[str]", request: JobRequest | CurveRequest, display: ProgressDisplay) -> Schedule:
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin:
        stdin.write(request.model_dump_json())
    for line in process.stdout:
        match json.loads(line):
            case {"progress": progress}:
                display.update(Progress.model_validate(progress))
            case {"schedule": schedule}:
                return Schedule.model_validate(schedule)
            case {"error": message, "bad_input": bad_input}:
                raise CommandError(message, ExitCode.BAD_INPUT if bad_input else ExitCode.JOB_FAILED)
    raise _SilentEnd
