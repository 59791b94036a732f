import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from ays_process.commands import module_command
from ays_store import Queue, Store
from benchmarks.scale_out import MODELS_FILE
from tests.store.waiting import until
from tests.worker.toy import GATE, LOG

ROOT = Path(__file__).parents[2]


class Process:
    """A worker process and its log."""

    def __init__(self, url, folder, number, module, environment):
        self.stderr = folder / f"worker{number}.log"
        self.name = f"w{number}"
        environment = {
            "PYTHONPATH": str(ROOT),
            "AYS_REDIS_URL": url,
            "AYS_WORKER_NAME": self.name,
            "AYS_LEASE_SECONDS": "2",
            **environment,
        }
        with self.stderr.open("wb") as log:
            command = module_command(module)
            self.popen = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log)

    def kill(self):
        self.popen.kill()
        self.popen.wait(10)

    def kill_all(self):
        """With the process that it supervises, which would take jobs of the next test."""
        if self.popen.poll() is not None:
            return
        kept = psutil.Process(self.popen.pid).children(recursive=True)
        self.kill()
        for process in kept:
            process.kill()
        psutil.wait_procs(kept, timeout=10)

    def ask_to_end(self):
        """Ask, and wait until it has heard; a shard in hand goes on for half of its drain time."""
        self.popen.send_signal(signal.SIGTERM)
        until(lambda: self.said("the worker is asked to end"), what="hearing the signal")

    def end(self, *, seconds=60):
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)

    def log(self):
        return [json.loads(line) for line in self.stderr.read_text().splitlines() if line.startswith("{")]

    def said(self, event):
        return [entry for entry in self.log() if entry["event"].startswith(event)]


@pytest.fixture
def store(redis):
    return Store(redis, lease_seconds=2)


@pytest.fixture
def queue(redis):
    return Queue(redis)


@pytest.fixture
def start(redis_url, store, tmp_path):
    """Starts a worker and waits until it is live."""
    started = []

    def begin(*, url=redis_url, at=store, wait=True, module="tests.worker.toy", **environment):
        process = Process(url, tmp_path, len(started), module, environment)
        started.append(process)
        if wait:
            until(lambda: _live(at, process), seconds=30, what=f"start of {process.name}")
        return process

    yield begin
    for process in started:
        process.kill_all()


@pytest.fixture
def start_real(start, tmp_path):
    """Starts a worker of the real pipeline that offers the model `sleeping`, which takes its time over a call."""

    def begin(*, seconds, module="worker"):
        file = tmp_path / "models.toml"
        file.write_text(MODELS_FILE.format(seconds=seconds))
        return start(module=module, AYS_MODELS=str(file), AYS_THREADS="1")

    return begin


def _live(store, process):
    assert process.popen.poll() is None, process.stderr.read_text()
    return any(worker.name.startswith(f"{process.name}-") for worker in store.workers.live())


@pytest.fixture
def ask(store, queue):
    """Submits and enqueues a request."""

    def submit(request, **known):
        job, created = store.jobs.submit(request, **known)
        assert created
        assert queue.enqueue(job.id)
        return job.id

    return submit


@pytest.fixture
def reaches(store):
    """Waits until a job is in a state."""

    def wait(job_id, state, *, seconds=20):
        def there():
            job = store.jobs.get(job_id)
            return job if job.state == state else None

        return until(there, seconds=seconds, what=f"state {state} of {store.jobs.get(job_id)}")

    return wait


@pytest.fixture
def forget(redis):
    """Drops all jobs and results; the workers stay."""

    def drop():
        kept = ("models", "worker")
        redis.delete(*(key for key in redis.scan_iter("ays:2:*") if not key.decode().removeprefix("ays:2:").startswith(kept)))

    return drop


@pytest.fixture
def gate(redis):
    """Lets the toy do its steps."""
    return lambda steps=1000: redis.set(GATE, steps)


@pytest.fixture
def deeds(redis):
    """What the toy workers have done."""
    return lambda: [entry.decode() for entry in redis.lrange(LOG, 0, -1)]
