from ays_client.contract import Effort, JobState, Variant, identity
from ays_store import Measurement, Queue
from tests.store.bodies import profile, request, validated
from tests.store.test_results import commit
from tests.store.waiting import until
from tests.worker.toy import HOLD
from worker.process import exits
from worker.runtime.attempt import Attempt
from worker.runtime.drain import Drain
from worker.runtime.host import JobHost
from worker.runtime.progress import Reporter
from worker.runtime.sharing import Sharing


def states(store, job_id):
    entries = store.jobs.events.read({job_id: "0"}, count=10_000)[job_id]
    return [entry.event for entry in entries]


def test_a_job_from_request_to_schedule(start, store, ask, reaches, gate, deeds, redis):
    worker = start()
    gate()
    job_id = ask(request(paths=3))
    job = reaches(job_id, JobState.SUCCEEDED)
    assert store.results.schedule(job.schedule_id)
    assert job.attempts == 1
    profile_id = identity(Variant(model="toy", paths=3))
    assert store.results.profile(profile_id).variant.paths == 3
    assert len(store.results.cells(profile_id)) == 7
    events = states(store, job_id)
    assert [event.state for event in events[:2]] == ["queued", "running"]
    assert list(dict.fromkeys(event.progress.stage for event in events)) == ["waiting", "loading", "profile", "store"]
    assert (events[-1].state, events[-1].schedule_url) == ("succeeded", job.schedule_url)
    model = store.models.get("toy")
    assert (model.kind, model.shape, model.fingerprint, model.profile_state) == ("ve", [2], "f0", "ready")

    again = ask(request(paths=3, effort=Effort.FAST))
    reaches(again, JobState.SUCCEEDED)
    other = ask(request(paths=3, nfe=5))
    reaches(other, JobState.SUCCEEDED)
    assert deeds() == ["load toy", "step 0", "step 1", "step 2"], "kept warm, and answered from the profile"
    assert until(lambda: not [key for key in redis.scan_iter("rq:job:*")]), "RQ keeps nothing of a job that is done"
    assert worker.end() == 0
    assert store.workers.live() == []


def test_what_cannot_be_done_fails_and_the_worker_lives_on(start, ask, reaches, gate, store):
    start()
    gate()
    broken = reaches(ask(request(model="broken")), JobState.FAILED)
    assert broken.error == "model 'broken': received nothing; expected weights; fix: train it"
    assert broken.attempts == 1
    wrong = reaches(ask(request(model="wrong")), JobState.FAILED)
    assert wrong.error.startswith("ZeroDivisionError: division by zero. This was raised while loading or running the model")
    reaches(ask(request(paths=2)), JobState.SUCCEEDED)
    assert states(store, broken.id)[-1].error == broken.error


def test_a_running_job_is_canceled_between_two_batches(start, ask, reaches, gate, store):
    start()
    job_id = ask(request(paths=2))
    until(lambda: store.jobs.get(job_id).progress.stage == "profile")
    store.jobs.cancel(job_id)
    reaches(job_id, JobState.CANCELED)
    assert states(store, job_id)[-1].state == JobState.CANCELED
    gate()
    reaches(ask(request(paths=2)), JobState.SUCCEEDED)


def test_a_canceled_job_in_the_queue_is_passed_over(start, ask, reaches, gate, store, deeds):
    job_id, other = ask(request(paths=2)), ask(request(paths=2, seed=1))
    store.jobs.cancel(job_id)
    gate()
    start()
    reaches(other, JobState.SUCCEEDED)
    assert store.jobs.get(job_id).state == JobState.CANCELED
    assert deeds() == ["load toy", "step 0", "step 1"]


def test_a_worker_asked_to_end_gives_its_job_back(start, ask, reaches, gate, store, deeds):
    first = start()
    gate(2)
    job_id = ask(request(paths=4))
    until(lambda: len(deeds()) == 3)
    assert first.end() == 0
    job = store.jobs.get(job_id)
    assert (job.state, job.attempts, job.live_workers) == (JobState.QUEUED, 0, 0)
    gate()
    start()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1
    assert deeds() == ["load toy", "step 0", "step 1", "load toy", "step 2", "step 3"], "resumed from the shards"


def test_a_worker_asked_to_end_stores_the_shard_in_hand(start, ask, reaches, gate, store, deeds, redis):
    first = start(AYS_DRAIN_SECONDS="60")
    gate(1)
    job_id = ask(request(paths=3))
    until(lambda: any(redis.hexists(key, "1-2") for key in redis.scan_iter("ays:2:shards:held:*")), what="second shard in hand")
    first.ask_to_end()
    gate(2)
    assert first.popen.wait(60) == 0
    assert deeds() == ["load toy", "step 0", "step 1"]
    assert (store.jobs.get(job_id).state, store.jobs.get(job_id).attempts) == (JobState.QUEUED, 0)
    gate()
    start()
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 1
    assert deeds()[3:] == ["load toy", "step 2"]


def test_a_job_that_takes_too_long_is_failed(start, ask, reaches):
    start(AYS_JOB_SECONDS="1")
    job = reaches(ask(request(paths=2)), JobState.FAILED)
    assert "exceeded maximum timeout value (1 seconds)" in job.error
    assert "AYS_JOB_SECONDS" in job.error


def test_a_model_that_never_comes_back_does_not_keep_a_worker_from_ending(start, ask, store, deeds):
    worker = start(AYS_DRAIN_SECONDS="0.5")
    job_id = ask(request(model="stuck"))
    until(lambda: "stuck" in deeds())
    assert worker.end() == 70
    assert worker.said("the worker did not end in time")
    start()
    until(lambda: store.jobs.get(job_id).attempts == 2, what="second attempt")


def test_a_worker_whose_device_broke_ends_and_the_job_has_three_tries(start, ask, store):
    job_id = ask(request(model="device"))
    for tries in (1, 2, 3):
        worker = start(wait=False)
        assert worker.popen.wait(20) == exits.BROKEN
        assert worker.said("worker broke")
        assert store.jobs.get(job_id).attempts == tries
    job = store.jobs.get(job_id)
    assert job.state == JobState.FAILED
    assert job.error.startswith("The worker died in each of 3 attempts. The last time its process could not go on: AcceleratorError: CUDA")


def test_a_full_redis_does_not_lose_a_job(start, ask, reaches, gate, redis, deeds, store):
    worker = start()
    gate()
    redis.set(HOLD, 1)
    job_id = ask(request(model="late", paths=2))
    until(lambda: "computed" in deeds())
    redis.config_set("maxmemory", 1)
    try:
        redis.delete(HOLD)
        until(lambda: worker.said("job abandoned"))
        assert store.results.profile(identity(Variant(model="late", paths=2))) is None
    finally:
        redis.config_set("maxmemory", 0)
    (failed,) = worker.said("job failed")
    assert failed["error"].startswith("Redis refused what the worker wrote: command not allowed when used memory > 'maxmemory'")
    assert reaches(job_id, JobState.SUCCEEDED).attempts == 2
    assert worker.end() == 0, "the worker lived on"


def test_a_record_of_another_version_is_failed(start, store, queue, redis):
    job, _ = store.jobs.submit(request())
    redis.hset(f"ays:2:job:{job.id}", "request", '{"no": "request"}')
    queue.enqueue(job.id)
    start()
    until(lambda: redis.hget(f"ays:2:job:{job.id}", "state") == b"failed")
    assert store.jobs.list() == ([], None)
    again, created = store.jobs.submit(request())
    assert (created, again.state) == (True, JobState.QUEUED)


def test_a_profile_of_the_same_weights_under_another_name_is_found(store):
    variant = Variant(model="toy", paths=3)
    commit(store, validated(), profile=profile(variant), paths=3)
    copy, twin = identity(variant.model_copy(update={"model": "copy"})), identity(variant)
    attempt = Attempt("job", 1, drain=Drain(finish_seconds=0))
    told = Reporter(attempt, store, count=lambda _: None)

    def host(fingerprint: str, twins: list[str]) -> JobHost:
        of = Measurement(copy, fingerprint)
        sharing = Sharing(attempt, of=of, model="copy", worker="w", store=store, queue=Queue(store.redis))
        return JobHost(attempt, told, sharing, of=of, store=store, twins=twins)

    assert host("f0", [twin]).profile() == profile(variant)
    assert host("f0", []).profile() is None
    assert host("f1", [twin]).profile() is None
