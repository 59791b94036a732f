"""The supervisor of a worker's process, with real processes that die."""

import os
import signal
import subprocess

import pytest

from ays_client.contract import JobState, identity
from ays_process.commands import module_command
from ays_store import Measurement
from tests.store.bodies import request
from tests.store.waiting import until
from tests.worker.conftest import ROOT
from worker.process import exits
from worker.process.supervisor import ending_of
from worker.runtime.fatal import ends_process

SUPERVISED = "tests.worker.supervised"


@pytest.fixture
def computing(store):
    """Process id of the only worker's computing process."""

    def pid():
        (worker,) = store.workers.live()
        return worker.info["pid"]

    return pid


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("killer", "The last time the worker's process was killed by SIGKILL: out of memory is the usual reason"),
        ("memory", "The last time its process could not go on: MemoryError. This was raised while loading or running the model"),
    ],
)
def test_a_job_that_ends_its_process_is_failed_after_three_tries_and_the_worker_lives_on(
    start, ask, reaches, gate, deeds, computing, model, cause
):
    worker = start(module=SUPERVISED)
    gate()
    failed = reaches(ask(request(model=model)), JobState.FAILED, seconds=60)
    assert failed.attempts == 3
    assert failed.error.startswith("The worker died in each of 3 attempts. " + cause)
    reaches(ask(request(paths=2)), JobState.SUCCEEDED)
    assert deeds() == [*3 * [f"load {model}"], "load toy", "step 0", "step 1"]
    assert computing() != worker.popen.pid
    assert worker.end() == 0


def test_a_killed_process_gives_its_job_back_at_once(start, ask, reaches, gate, deeds, computing, store):
    """Long before its lease runs out, and what was measured is not measured again."""
    start(module=SUPERVISED, AYS_LEASE_SECONDS="600")
    gate(1)
    job_id = ask(request(paths=2))
    until(lambda: store.shards.read(Measurement(identity(request(paths=2).variant), "f0"), ["0-1"]), what="the first shard")
    os.kill(computing(), signal.SIGKILL)
    gate()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 2
    assert deeds() == ["load toy", "step 0", "load toy", "step 1"]


def test_a_supervisor_asked_to_end_asks_its_process(start, ask, gate, deeds, store):
    worker = start(module=SUPERVISED)
    job_id = ask(request(paths=2))
    until(lambda: "load toy" in deeds())
    worker.ask_to_end()
    gate(1)
    assert worker.popen.wait(60) == 0
    job = store.jobs.get(job_id)
    assert (job.state, job.attempts, job.live_workers) == (JobState.QUEUED, 0, 0)


def test_asked_twice_a_worker_does_not_wait(start, ask, deeds):
    worker = start(module=SUPERVISED)
    ask(request(model="stuck"))
    until(lambda: "stuck" in deeds())
    worker.ask_to_end()
    assert worker.end() == 128 + signal.SIGTERM


def test_a_process_without_its_supervisor_gives_its_job_back_and_ends(start, ask, gate, deeds, store, computing):
    worker = start(module=SUPERVISED)
    job_id = ask(request(paths=2))
    until(lambda: "load toy" in deeds())
    pid = computing()
    worker.kill()
    until(lambda: worker.said("the worker is asked to end"))
    gate(1)
    until(lambda: store.jobs.get(job_id).state == JobState.QUEUED)
    assert store.jobs.get(job_id).attempts == 0
    until(lambda: not _runs(pid))
    assert worker.said("the supervisor of this process is gone")


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_cannot_begin_is_not_kept(redis_url):
    """Whoever started the supervisor sees it, and starts it again later each time."""
    environment = {**os.environ, "AYS_REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(module_command(SUPERVISED, "tests.nowhere"), cwd=ROOT, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"No module named tests.nowhere" in done.stderr


def test_a_worker_py_in_the_current_folder_is_not_ours(tmp_path):
    """Neither the supervisor nor the process that it starts runs it; ours say that there is no Redis."""
    (tmp_path / "worker.py").write_text("raise SystemExit(99)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AYS_REDIS_URL": "redis://127.0.0.1:9", "AYS_WAIT_SECONDS": "0"}
    done = subprocess.run(module_command("worker"), cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert done.returncode == exits.NO_REDIS, done.stderr


def test_a_process_without_its_device_has_said_why(redis_url, tmp_path):
    (tmp_path / "busy.py").write_text(f"raise SystemExit({exits.NO_DEVICE})")
    environment = {**os.environ, "AYS_REDIS_URL": redis_url, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(module_command(SUPERVISED, "busy"), cwd=ROOT, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (exits.NO_DEVICE, b"")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-signal.SIGKILL, "was killed by SIGKILL: out of memory"),
        (-signal.SIGSEGV, "was killed by SIGSEGV: native code"),
        (-signal.SIGRTMIN - 3, "was killed by signal 37"),
        (70, "hung and was ended by its watchdog"),
        (5, "ended with status 5"),
    ],
)
def test_endings_are_named(status, words):
    assert ending_of(status).startswith(words)


def test_errors_of_memory_and_device_end_the_process():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**60)
    assert ends_process(full.value)
    assert ends_process(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    wrapped = ValueError("the model failed")
    wrapped.__cause__ = MemoryError()
    assert ends_process(wrapped)
    assert not ends_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not ends_process(ValueError("CUDA error is a word in the name of a file"))
