"""A real worker, killed in the middle of a search of the paper: the next process goes on after the last finished sweep."""

import json
import os
import signal

from ays_client.contract import JobRequest, JobState
from tests.store.waiting import until


def test_a_killed_search_goes_on_and_ends_with_the_same_bytes(start_real, ask, reaches, store, redis, forget):
    chosen = {"samples": 64, "sweeps": 3, "candidates": 5, "midpoint_sweeps": 1}
    request = JobRequest(model="sleeping", nfe=6, grid=16, method="paper", effort="fast", paper=chosen)
    worker = start_real(seconds=0.003)

    def answer(job_id):
        job = reaches(job_id, JobState.SUCCEEDED, seconds=60)
        return store.results.schedule(job.schedule_id), job

    undisturbed, whole = answer(ask(request))
    assert not list(redis.scan_iter("ays:2:checkpoint:*"))
    until(lambda: not list(redis.scan_iter("rq:job:*")), what="the end of RQ's own bookkeeping")
    forget()

    job_id = ask(request)
    known = until(lambda: _steps(store, job_id, 3), what="a finished sweep")
    at = store.jobs.get(job_id).progress.done
    until(lambda: store.jobs.get(job_id).progress.done > at, what="progress of the sweep after it")
    (computing,) = (live.info["pid"] for live in store.workers.live())
    os.kill(computing, signal.SIGKILL)
    resumed, job = answer(job_id)

    assert resumed == undisturbed
    assert job.attempts == 2
    assert job.progress.evaluations <= whole.progress.evaluations - sum(evaluations for _, evaluations in known)
    assert worker.popen.poll() is None, "its supervisor lives"


def _steps(store, job_id, number):
    """The finished steps, when there are so many of them."""
    steps = json.loads(store.checkpoints.read(job_id) or '{"steps": []}')["steps"]
    return steps if len(steps) >= number else None
