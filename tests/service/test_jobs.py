"""Seeing, listing and stopping jobs."""

import pytest

from ays_client.contract import Job, JobState, identity
from ays_store import Store
from tests.service.worker import body, finish, request, toy, work

LONG_AGO = -60.0
"""A lease that ran out so long before it began that its job is lost at once."""


def submit(http, **fields):
    answer = http.post("/v1/jobs", json=body(**fields))
    assert answer.status_code == 202, answer.text
    return Job.model_validate_json(answer.content)


def test_a_job_is_shown_at_every_stage(http, store):
    job = submit(http)
    path = f"/v1/jobs/{job.id}"
    assert http.get(path).headers["retry-after"] == "1"
    token = work(store, job.request, progress=[1, 32])
    shown = http.get(path)
    assert Job.model_validate_json(shown.content).progress.done == 32
    assert (shown.json()["state"], shown.json()["attempts"], shown.headers["retry-after"]) == ("running", 1, "1")
    wanted = finish(store, job.request, token)
    shown = http.get(path)
    assert (shown.json()["state"], shown.json()["schedule_id"]) == ("succeeded", wanted.id)
    assert shown.json()["schedule_url"] == f"/v1/schedules/{wanted.id}"
    assert "retry-after" not in shown.headers


@pytest.mark.usefixtures("store")
def test_a_silent_worker_makes_its_job_lost(http, redis):
    job = submit(http)
    Store(redis, lease_seconds=LONG_AGO).jobs.start(job.id, "w1")
    assert http.get(f"/v1/jobs/{job.id}").json()["state"] == "lost"
    assert [each["id"] for each in http.get("/v1/jobs?state=lost").json()["jobs"]] == [job.id]


def test_live_workers_are_counted(http, store):
    store.workers.beat("w1", {})
    assert submit(http).live_workers == 1


@pytest.mark.usefixtures("store")
def test_pages_hold_every_job_once_newest_first(http):
    made = [submit(http, nfe=nfe).id for nfe in range(2, 12)]
    seen, cursor = [], None
    for _ in range(4):
        page = http.get("/v1/jobs", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    assert cursor is None


def test_jobs_are_listed_by_state_and_model(http, store):
    store.models.publish([toy(), toy(id="other")], source="host")
    waiting, running, foreign = submit(http, nfe=2), submit(http, nfe=3), submit(http, model="other")
    work(store, running.request)
    store.jobs.cancel(foreign.id)

    def listed(**query):
        return {job["id"] for job in http.get("/v1/jobs", params=query).json()["jobs"]}

    assert listed() == {waiting.id, running.id, foreign.id}
    assert listed(state="queued") == {waiting.id}
    assert listed(state="running", model="toy") == {running.id}
    assert listed(model="other") == {foreign.id}
    assert listed(state="canceled", model="toy") == set()


def test_a_queued_job_is_canceled_at_once(http, store):
    job = submit(http)
    answer = http.post(f"/v1/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "canceled")
    assert store.jobs.start(job.id, "w1") is None
    assert http.post(f"/v1/jobs/{job.id}/cancel").json()["state"] == "canceled"


def test_a_running_job_is_canceled_by_its_worker(http, store):
    job = submit(http)
    token = work(store, job.request)
    assert http.post(f"/v1/jobs/{job.id}/cancel").json()["state"] == "running"
    assert store.jobs.stop(job.id, token)
    assert http.get(f"/v1/jobs/{job.id}").json()["state"] == "canceled"


def test_a_succeeded_job_cannot_be_canceled(http, store):
    job = submit(http)
    finish(store, job.request, work(store, job.request))
    assert http.post(f"/v1/jobs/{job.id}/cancel").json()["state"] == "succeeded"


@pytest.mark.parametrize("name", ["cancel"])
@pytest.mark.usefixtures("store")
def test_canceling_what_is_not_there(http, name):
    answer = http.post(f"/v1/jobs/{identity(request())}/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_states_that_are_final():
    assert {state for state in JobState if state.final} == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}
