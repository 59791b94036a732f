"""Does one profile spread over all workers? `make bench-scale`: 1, 2 and 4 worker processes, a denoiser that sleeps.

The denoiser waits 20 ms in every call and computes next to nothing, so that four workers find work for themselves on two cores. Each
number of workers answers the same request on an empty Redis. What is asserted: the schedules are the same bit for bit, and every shard
was measured once. What is printed: the time of the profile and of the whole job, from `POST` to success, whose table no helper fills.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ays_client.contract import Effort, JobRequest, JobState, identity
from ays_store import Queue, Store
from service.embedded_redis import EmbeddedRedis

MODELS_FILE = """
[models.sleeping]
kind = "factory"
factory = "benchmarks.sleeping:sleeping"
[models.sleeping.arguments]
seconds = {seconds}
"""

_HANG_SECONDS = 600.0


@dataclass(frozen=True)
class Run:
    """What some number of workers took.

    Attributes:
        workers: their number.
        profile_seconds: time of the profile.
        job_seconds: time from the submission to the schedule.
        evaluations: evaluations of all workers, without those that probe a loaded model.
        schedule: the stored body.
    """

    workers: int
    profile_seconds: float
    job_seconds: float
    evaluations: int
    schedule: bytes


def asked(paths: int) -> JobRequest:
    """The request: no validation, since that is the work of one worker."""
    return JobRequest(model="sleeping", nfe=8, paths=paths, grid=48, effort=Effort.FAST)


def measure(workers: int, request: JobRequest, models: Path, folder: Path) -> Run:
    """Answer the request with some number of workers."""
    with EmbeddedRedis(folder / f"redis{workers}") as server, processes(workers, server.url, models):
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
        run = Run(workers, profile.seconds, took, store.census.take().counters["evaluations"], schedule)
        store.close()
        return run


@contextlib.contextmanager
def processes(workers: int, url: str, models: Path) -> Iterator[None]:
    """Worker processes of one thread each, ended at the end."""
    environment = os.environ | {"AYS_REDIS_URL": url, "AYS_MODELS": str(models), "AYS_THREADS": "1", "AYS_LOG_LEVEL": "warning"}
    started = [subprocess.Popen([sys.executable, "-m", "worker"], env=environment) for _ in range(workers)]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def table(runs: list[Run]) -> str:
    """The runs beside the first one."""
    lines = ["| workers | profile, s | speed-up | of the ideal | whole job, s | speed-up |", "|---|---|---|---|---|---|"]
    first = runs[0]
    for run in runs:
        profile, job = first.profile_seconds / run.profile_seconds, first.job_seconds / run.job_seconds
        share = profile * first.workers / run.workers
        lines.append(f"| {run.workers} | {run.profile_seconds:.2f} | {profile:.2f} | {share:.2f} | {run.job_seconds:.2f} | {job:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--paths", type=int, default=512, help="paths of the profile, 16 in a shard")
    parser.add_argument("--seconds", type=float, default=0.02, help="time of a call of the denoiser")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, request = Path(name), asked(options.paths)
        models = folder / "models.toml"
        models.write_text(MODELS_FILE.format(seconds=options.seconds))
        runs = [measure(workers, request, models, folder) for workers in options.workers]
    print(table(runs))
    assert len({run.schedule for run in runs}) == 1, "the schedules differ"
    assert len({run.evaluations for run in runs}) == 1, f"shards were measured twice: {[run.evaluations for run in runs]}"
    print("\nThe schedules are the same bit for bit, and no shard was measured twice.")


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
    main()
