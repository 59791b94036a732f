"""Does one profile spread over all workers? `make bench-scale`: 1, 2 and 4 worker processes, a denoiser that sleeps.

The denoiser waits 100 ms in every call and computes next to nothing, so that four workers find work for themselves on two cores. Each
number of workers answers the same requests on an empty Redis: a profile of a fixed number of paths, and one that grows until it is enough.
What is asserted: the schedules are the same bit for bit, every shard that the profile needs was measured once, and the profile is finished
sooner by 0.9 times the number of workers, as long as it has a shard for each. What is printed, and written into docs/operating.md: the
time of the profile, and of the whole job, from `POST` to success, whose table no helper fills.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from ays_client.contract import Effort, JobRequest, JobState, Solver, identity
from ays_process.commands import module_command
from ays_store import Queue, Store
from service.local.embedded_redis import EmbeddedRedis

MODELS_FILE = """
[models.sleeping]
kind = "factory"
factory = "benchmarks.sleeping:sleeping"
[models.sleeping.arguments]
seconds = {seconds}
"""

ROOT = Path(__file__).parents[1]

PAGE = ROOT / "docs" / "operating.md"

_SHARE = 0.9
"""Of the ideal speed-up, at least."""

_SHARD_PATHS = 16
_HANG_SECONDS = 600.0


@dataclass(frozen=True)
class Run:
    """What some number of workers took.

    Attributes:
        workers: their number.
        paths: of the profile.
        growing: whether it grew until that was enough.
        profile_seconds: time of the profile.
        job_seconds: time from the submission to the schedule.
        needed: evaluations that the profile needs.
        evaluations: evaluations of all workers, without those that probe a loaded model; more than needed where an idle one went ahead.
        schedule: the stored body.
    """

    workers: int
    paths: int
    growing: bool
    profile_seconds: float
    job_seconds: float
    needed: int
    evaluations: int
    schedule: bytes


def asked(paths: int | Literal["auto"]) -> JobRequest:
    """The request: no validation, since that is the work of one worker; of a solver whose profile grows."""
    return JobRequest(model="sleeping", nfe=16, solver=Solver.DPMPP_2M_SDE, paths=paths, grid=48, effort=Effort.FAST)


def measure(workers: int, request: JobRequest, models: Path, folder: Path) -> Run:
    """Answer the request with some number of workers."""
    with EmbeddedRedis(folder / f"redis-{request.paths}-{workers}") as server, processes(workers, server.url, models):
        store = Store.open(server.url)
        _until(lambda: len(store.workers.live()) == workers)
        began = time.monotonic()
        job, _ = store.jobs.submit(request)
        Queue(store.redis).enqueue(job.id)
        _until(lambda: _ended(store, job.id))
        took = time.monotonic() - began
        profile, done = store.results.profile(identity(request.variant)), store.jobs.get(job.id)
        assert profile is not None
        assert done is not None
        assert done.state is JobState.SUCCEEDED, done.error
        assert done.schedule_id is not None
        schedule = store.results.schedule(done.schedule_id)
        assert schedule is not None
        evaluations = profile.evaluations
        _until(lambda: store.census.take().counters.get("evaluations", 0) >= evaluations)
        spent = store.census.take().counters["evaluations"]
        run = Run(workers, profile.paths, request.paths == "auto", profile.seconds, took, evaluations, spent, schedule)
        store.close()
        return run


@contextlib.contextmanager
def processes(workers: int, url: str, models: Path) -> Iterator[None]:
    """Worker processes of one thread each, ended at the end."""
    environment = os.environ | {
        # The model is of `benchmarks`, which is not installed.
        "PYTHONPATH": str(ROOT),
        "AYS_REDIS_URL": url,
        "AYS_MODELS": str(models),
        "AYS_THREADS": "1",
        "AYS_LOG_LEVEL": "warning",
    }
    started = [subprocess.Popen(module_command("worker"), env=environment) for _ in range(workers)]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def speed_up(run: Run, first: Run) -> float:
    """How much sooner the profile is finished."""
    return first.profile_seconds / run.profile_seconds * first.workers


def ideal(run: Run) -> int:
    """Workers that have a shard to measure."""
    return min(run.workers, -(-run.paths // _SHARD_PATHS))


def table(runs: list[list[Run]]) -> str:
    """The runs of each request, beside its first one."""
    lines = ["| paths | workers | profile, s | speed-up | of the ideal | whole job, s |", "|---|---|---|---|---|---|"]
    for same in runs:
        for run in same:
            profile = speed_up(run, same[0])
            share = profile / ideal(run)
            lines.append(
                f"| {run.paths} | {run.workers} | {run.profile_seconds:.1f} | {profile:.2f} | {share:.2f} | {run.job_seconds:.1f} |"
            )
    return "\n".join(lines)


def check(same: list[Run]) -> Iterator[str]:
    """What is not as promised of the runs of a request."""
    if len({run.schedule for run in same}) > 1:
        yield "the schedules differ"
    for run in same:
        if run.evaluations != run.needed and not (run.growing and run.evaluations > run.needed):
            yield f"{run.workers} workers made {run.evaluations} evaluations; the profile needs {run.needed}"
        if speed_up(run, same[0]) < _SHARE * ideal(run):
            yield f"{run.workers} workers measured {run.paths} paths {speed_up(run, same[0]):.2f} times as fast as one"


def write_down(text: str) -> None:
    """Put the table into the operator's page, in place of the last one."""
    page = PAGE.read_text()
    begin, end = "<!-- make bench-scale -->\n", "<!-- end of make bench-scale -->"
    PAGE.write_text(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}{text}\n{end}", page, flags=re.DOTALL))


def main() -> int:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--paths", type=int, default=128, help=f"paths of the fixed profile, {_SHARD_PATHS} in a shard")
    parser.add_argument("--seconds", type=float, default=0.1, help="time of a call of the denoiser")
    parser.add_argument("--write", action="store_true", help="write the table into docs/operating.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = folder / "models.toml"
        models.write_text(MODELS_FILE.format(seconds=options.seconds))
        paths: list[int | Literal["auto"]] = [options.paths, "auto"]
        runs = [[measure(workers, asked(each), models, folder) for workers in options.workers] for each in paths]
    print(table(runs))
    wrong = [line for same in runs for line in check(same)]
    if not wrong:
        print("\nThe schedules are the same bit for bit, whatever the number of workers.")
    if options.write and not wrong:
        write_down(
            f"{table(runs)}\n\nMeasured on {time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores, {options.seconds * 1000:.0f} ms a call."
        )
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


def _ended(store: Store, job_id: str) -> bool:
    job = store.jobs.get(job_id)
    return job is not None and job.state.final


def _until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + _HANG_SECONDS
    while not ready():
        if time.monotonic() > end:
            message = f"nothing happened within {_HANG_SECONDS:.0f} s"
            raise TimeoutError(message)
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
