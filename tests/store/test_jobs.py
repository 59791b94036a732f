import pytest

from ays_client.contract import JobState, Progress, identity
from ays_store import Standing
from tests.store.bodies import profile, request, schedule
from tests.store.waiting import until

PROGRESS = Progress(stage="profile", done=3, total=16, evaluations=192, evaluations_per_second=100.0, eta_seconds=8.3)


def submitted(store, **fields):
    job, created = store.jobs.submit(request(**fields))
    assert created
    return job


def states(store, job_id):
    return [entry.event.state for entry in store.jobs.events.read({job_id: "0"}).get(job_id, [])]


def test_a_request_is_submitted_once(store):
    job = submitted(store)
    again, created = store.jobs.submit(request())
    assert (created, again.id) == (False, job.id)
    assert job.id == identity(request())
    assert job.state is JobState.QUEUED
    assert job.progress.stage == "waiting"
    assert job.request == request()
    assert (job.attempts, job.started_at, job.finished_at, job.error, job.schedule_id) == (0, None, None, None, None)
    assert store.jobs.get(job.id) == job
    assert states(store, job.id) == ["queued"]


def test_an_unknown_job_is_none(store):
    assert store.jobs.get("0" * 32) is None
    assert store.jobs.cancel("0" * 32) is None
    assert store.jobs.start("0" * 32, "w") is None


def test_a_job_runs_and_reports(store):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    assert store.jobs.start(job.id, "w2") is None
    assert store.jobs.report(job.id, token, PROGRESS) is Standing.HELD
    running = store.jobs.get(job.id)
    assert (running.state, running.progress, running.attempts) == (JobState.RUNNING, PROGRESS, 1)
    assert running.started_at >= running.created_at
    assert store.jobs.fail(job.id, token, "sigma must be finite")
    failed = store.jobs.get(job.id)
    assert (failed.state, failed.error) == (JobState.FAILED, "sigma must be finite")
    assert failed.finished_at >= failed.started_at
    assert states(store, job.id) == ["queued", "running", "running", "failed"]


def test_a_start_whose_answer_was_lost_can_be_asked_again(store):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    assert store.jobs.start(job.id, "w1") == token
    assert store.jobs.get(job.id).attempts == 1


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_a_failed_or_canceled_job_starts_over(store, end):
    job = submitted(store)
    first = store.jobs.start(job.id, "w1")
    assert store.jobs.fail(job.id, first, "no") if end == "failed" else store.jobs.stop(job.id, first)
    again, created = store.jobs.submit(request())
    assert created
    assert (again.state, again.error, again.attempts) == (JobState.QUEUED, None, 0)
    assert again.created_at > job.created_at
    assert states(store, job.id) == ["queued"]
    second = store.jobs.start(job.id, "w1")
    assert second > first
    assert store.jobs.report(job.id, first, PROGRESS) is Standing.STALE


def test_a_stale_attempt_can_do_nothing(store):
    job = submitted(store)
    stale = store.jobs.start(job.id, "w1")
    until(lambda: job.id in store.jobs.reap()[0], what="reaping")
    token = store.jobs.start(job.id, "w2")
    assert token > stale
    assert store.jobs.report(job.id, stale, PROGRESS) is Standing.STALE
    assert store.jobs.renew(job.id, stale) is Standing.STALE
    assert not store.jobs.fail(job.id, stale, "late")
    assert not store.jobs.stop(job.id, stale)
    assert not store.jobs.release(job.id, stale)
    wanted = schedule()
    assert not store.results.commit(job.id, stale, profile=profile(), schedules=[wanted], requested_schedule_id=wanted.id)
    assert store.results.schedule(wanted.id) is None
    assert store.results.profile(profile().id) is None
    assert store.jobs.get(job.id).state is JobState.RUNNING


def test_a_queued_job_is_canceled_at_once(store):
    job = submitted(store)
    assert store.jobs.cancel(job.id).state is JobState.CANCELED
    assert store.jobs.start(job.id, "w1") is None
    assert states(store, job.id) == ["queued", "canceled"]


def test_a_running_job_is_asked_to_stop(store):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    assert store.jobs.cancel(job.id).state is JobState.RUNNING
    assert store.jobs.report(job.id, token, PROGRESS) is Standing.CANCEL
    assert store.jobs.stop(job.id, token)
    assert store.jobs.stop(job.id, token), "a repeated call, whose answer was lost, finds it done"
    assert store.jobs.get(job.id).state is JobState.CANCELED
    assert store.jobs.cancel(job.id).state is JobState.CANCELED


def test_a_job_that_nobody_holds_any_more_is_canceled_at_once(store):
    job = submitted(store)
    store.jobs.start(job.id, "w1")
    until(lambda: store.jobs.cancel(job.id).state is JobState.CANCELED, what="cancel after the lease")


def test_a_canceled_job_is_not_queued_again_when_its_worker_dies_or_drains(store):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    store.jobs.cancel(job.id)
    assert not store.jobs.release(job.id, token)
    assert store.jobs.get(job.id).state is JobState.CANCELED
    other = submitted(store, nfe=5)
    store.jobs.start(other.id, "w1")
    store.jobs.cancel(other.id)
    until(lambda: other.id in store.jobs.reap()[1], what="reaping")
    assert store.jobs.get(other.id).state is JobState.CANCELED


def test_a_released_attempt_does_not_count(store):
    job = submitted(store)
    assert store.jobs.release(job.id, store.jobs.start(job.id, "w1"))
    released = store.jobs.get(job.id)
    assert (released.state, released.attempts, released.progress.stage) == (JobState.QUEUED, 0, "waiting")


def test_reports_renew_the_lease(store):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    started = store.jobs.get(job.id).started_at
    until(
        lambda: (
            store.jobs.renew(job.id, token) is Standing.HELD
            and store.jobs.reap() == ([], [])
            and store.workers.live() == []
            and float(store.redis.time()[0]) > started + 0.5
        ),
        what="half a second of renewals",
    )
    assert store.jobs.get(job.id).state is JobState.RUNNING


def test_the_third_death_of_a_worker_fails_the_job(store):
    job = submitted(store)
    for attempt in range(3):
        assert store.jobs.start(job.id, f"w{attempt}") is not None
        until(lambda: any(store.jobs.reap()), what="reaping")
    failed = store.jobs.get(job.id)
    assert (failed.state, failed.attempts) == (JobState.FAILED, 3)
    assert "each of 3 attempts. The last time the worker w2 fell silent" in failed.error


def test_a_job_is_lost_when_its_lease_is_long_overdue(store, redis):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    redis.hincrby(f"ays:2:job:{job.id}", "lease", -int(31e6))
    assert store.jobs.get(job.id).state is JobState.LOST
    assert [found.id for found in store.jobs.list(JobState.LOST)[0]] == [job.id]
    assert store.jobs.list(JobState.RUNNING) == ([], None)
    assert store.jobs.renew(job.id, token) is Standing.HELD
    assert store.jobs.get(job.id).state is JobState.RUNNING


def test_an_answer_from_the_cache_is_a_job_at_once(store):
    job = store.jobs.answer(request(), "s1")
    assert (job.state, job.schedule_id, job.schedule_url) == (JobState.SUCCEEDED, "s1", "/v1/schedules/s1")
    assert store.jobs.submit(request()) == (job, False)
    assert store.jobs.answer(request(), "s2") == job
    assert states(store, job.id) == ["succeeded"]
    queued = submitted(store, nfe=5)
    assert store.jobs.answer(queued.request, "s1").state is JobState.SUCCEEDED
    assert store.jobs.start(queued.id, "w1") is None


def test_the_list_is_newest_first_and_paged(store):
    made = [submitted(store, nfe=nfe, model="toy" if nfe % 2 else "other").id for nfe in range(2, 25)]
    seen, cursor = [], None
    while True:
        page, cursor = store.jobs.list(cursor=cursor, limit=5)
        seen += [job.id for job in page]
        assert len(page) == 5 or cursor is None
        if cursor is None:
            break
    assert seen == made[::-1]
    assert [job.id for job in store.jobs.list(model="toy", limit=100)[0]] == made[1::2][::-1]
    store.jobs.cancel(made[1])
    assert [job.id for job in store.jobs.list(JobState.CANCELED, "toy")[0]] == [made[1]]
    assert store.jobs.list(JobState.CANCELED, "other") == ([], None)
    assert len(store.jobs.list(JobState.QUEUED, limit=100)[0]) == len(made) - 1
    with pytest.raises(ValueError, match="cursor='x' is not a cursor"):
        store.jobs.list(cursor="x")


def test_a_full_last_page_has_no_successor(store):
    for nfe in range(2, 12):
        submitted(store, nfe=nfe)
    page, cursor = store.jobs.list(limit=5)
    page, cursor = store.jobs.list(limit=5, cursor=cursor)
    assert (len(page), cursor) == (5, None)


def test_events_resume_after_any_of_them(store):
    job = submitted(store)
    token = store.jobs.start(job.id, "w1")
    for done in range(5):
        store.jobs.report(job.id, token, PROGRESS.model_copy(update={"done": done}))
    store.jobs.fail(job.id, token, "no")
    entries = store.jobs.events.read({job.id: "0"})[job.id]
    assert len(entries) == 8
    rest = store.jobs.events.read({job.id: entries[4].id, "f" * 32: "0"})
    assert rest == {job.id: entries[5:]}
    assert (entries[-1].event.state, entries[-1].event.error) == (JobState.FAILED, "no")
    assert store.jobs.events.read({job.id: entries[-1].id}, block_seconds=0.05) == {}
    assert store.jobs.events.read({}) == {}


def test_old_records_are_forgotten(store, redis, monkeypatch):
    old, live = submitted(store), submitted(store, nfe=5)
    store.jobs.cancel(old.id)
    assert store.jobs.forget() == 0
    monkeypatch.setattr("ays_store.jobs.RECORDS_SECONDS", 0)
    assert store.jobs.forget() == 1
    assert [job.id for job in store.jobs.list()[0]] == [live.id]
    assert not [key for key in redis.scan_iter(f"*{old.id}*")]
