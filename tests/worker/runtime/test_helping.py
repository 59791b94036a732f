"""Several workers at one profile: who is idle helps, and nothing depends on it."""

import os
import signal

from ays_client.contract import JobState
from tests.store.bodies import request
from tests.store.waiting import until
from tests.worker.toy import DEADLY, FAILING


def shared(**fields):
    return request(**{"model": "shared", "paths": 4} | fields)


def steps(deeds):
    return sorted(deed for deed in deeds() if deed.startswith("step"))


def helped(deeds):
    return [deed for deed in deeds() if deed.startswith("help")]


def both_at_work(start, ask, deeds, **fields):
    """A job of a worker, with a shard of it at another; the job, its worker and the helper."""
    own = start()
    job_id = ask(shared(**fields))
    until(lambda: "load shared" in deeds())
    helper = start()
    until(lambda: helped(deeds), what="help")
    return job_id, own, helper


def test_idle_workers_measure_shards_of_a_running_job(start, ask, reaches, gate, deeds, redis, store):
    job_id, own, helper = both_at_work(start, ask, deeds)
    gate()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1
    assert steps(deeds) == ["step 0", "step 1", "step 2", "step 3"], "each of them once"
    assert "arrived 1-2" in deeds()
    assert own.end() == helper.end() == 0
    # The toy says that every step is 5 evaluations, whoever makes it.
    assert store.census.take().counters["evaluations"] == 20
    assert not list(redis.scan_iter("ays:2:shards:*"))
    assert not list(redis.scan_iter("rq:job:*"))


def test_a_lone_worker_does_everything_and_calls_nobody_afterwards(start, ask, reaches, gate, deeds, redis):
    gate()
    start()
    reaches(ask(shared()), JobState.SUCCEEDED)
    assert deeds() == ["load shared", *(f"step {number}" for number in range(4))]
    assert until(lambda: not list(redis.scan_iter("rq:job:*")))
    assert redis.llen("rq:queue:ays") == 0


def test_the_shard_of_a_helper_that_was_killed_is_measured_by_another(start, ask, reaches, gate, deeds):
    job_id, _, helper = both_at_work(start, ask, deeds)
    helper.kill()
    gate()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1
    assert steps(deeds) == ["step 0", "step 1", "step 2", "step 3"]


def test_a_helper_that_was_frozen_writes_nothing(start, ask, reaches, gate, deeds, redis):
    job_id, _, helper = both_at_work(start, ask, deeds)
    os.kill(helper.popen.pid, signal.SIGSTOP)
    try:
        gate()
        reaches(job_id, JobState.SUCCEEDED)
    finally:
        os.kill(helper.popen.pid, signal.SIGCONT)
    until(lambda: helper.said("shard given back") or helper.said("shard measured in vain"))
    assert not list(redis.scan_iter("ays:2:shards:*"))
    assert helper.end() == 0


def test_the_helper_of_a_job_whose_worker_was_killed_goes_on(start, ask, reaches, gate, deeds):
    job_id, own, helper = both_at_work(start, ask, deeds)
    own.kill()
    gate(2)
    until(lambda: "step 1" in deeds(), what="the helper's shard")
    gate()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 2
    assert steps(deeds) == ["step 0", "step 1", "step 2", "step 3"], "the helper's shard is not measured again"
    assert helper.end() == 0


def test_a_helper_asked_to_end_gives_its_shard_back(start, ask, reaches, gate, deeds):
    job_id, _, helper = both_at_work(start, ask, deeds)
    assert helper.end() == 0
    assert helper.said("shard given back")
    gate()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1


def test_canceling_a_job_stops_its_helpers(start, ask, reaches, deeds, store):
    job_id, own, helper = both_at_work(start, ask, deeds)
    store.jobs.cancel(job_id)
    reaches(job_id, JobState.CANCELED)
    until(lambda: helper.said("shard given back"))
    assert own.end() == helper.end() == 0


def test_a_helper_that_fails_or_dies_fails_no_job(start, ask, reaches, gate, deeds):
    job_id, _, helper = both_at_work(start, ask, deeds, seed=FAILING)
    until(lambda: helper.said("a shard could not be measured here"))
    gate()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1
    dying = ask(shared(seed=DEADLY))
    until(lambda: helper.popen.poll() is not None or len(steps(deeds)) == 8, what="death or end")
    assert reaches(dying, JobState.SUCCEEDED).attempts == 1
    assert steps(deeds) == sorted(2 * [f"step {number}" for number in range(4)])


def test_two_jobs_that_need_one_profile_measure_it_once(start, ask, reaches, gate, deeds):
    start()
    start()
    first, second = ask(shared()), ask(shared(nfe=6))
    until(lambda: deeds().count("load shared") == 2)
    gate()
    reaches(first, JobState.SUCCEEDED)
    reaches(second, JobState.SUCCEEDED)
    assert steps(deeds) == ["step 0", "step 1", "step 2", "step 3"]
