import subprocess
import sys
import time

from tests.worker.conftest import ROOT

HANG = """
import sys, time
from worker.runtime.attempt import Attempt
from worker.runtime.drain import Drain
from ays_process.logs import configure_logs
from worker.process.watchdog import Watchdog
configure_logs("info", "json")
drain = Drain(finish_seconds=0)
attempt = Attempt("j", 1, drain=drain) if sys.argv[1] == "job" else None
Watchdog(lease=lambda: attempt, drain=drain, job_seconds=0.1, drain_seconds=0.1, grace_seconds=0.1).start()
if sys.argv[1] == "drain":
    drain.set()
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


def run(what):
    return subprocess.run([sys.executable, "-c", HANG, what], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_a_job_that_hangs_ends_the_process():
    done = run("job")
    assert done.returncode == 70
    assert "the job hangs; ending the process" in done.stderr


def test_a_worker_that_does_not_end_is_ended():
    done = run("drain")
    assert done.returncode == 70
    assert "the worker did not end in time" in done.stderr


def test_a_worker_without_redis_says_so(start):
    began = time.monotonic()
    worker = start(url="unix:///nowhere/redis.sock", wait=False, AYS_WAIT_SECONDS="0.1")
    assert worker.popen.wait(30) == 3
    (said,) = worker.said("no Redis")
    assert "check AYS_REDIS_URL" in said["fix"]
    assert time.monotonic() - began < 30
