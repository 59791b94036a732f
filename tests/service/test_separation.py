"""What one API key may do to the jobs of another."""

from contextlib import ExitStack

import httpx2
import pytest

from ays_client.contract import JobState
from ays_store import Origin, Store, jobs
from ays_store.api_keys import Scope
from tests.service.server import Server
from tests.service.worker import body, measured, request


@pytest.fixture(scope="module")
def guarded(redis_url, tmp_path_factory):
    with Server(redis_url, tmp_path_factory.mktemp("separation") / "log", AYS_REQUIRE_KEYS="true") as server:
        yield server


@pytest.fixture
def people(guarded, store):
    """The store, and clients of two people and of an administrator."""
    with ExitStack() as stack:
        clients = []
        for scope in (Scope.SUBMIT, Scope.SUBMIT, Scope.ADMIN):
            _, key = store.api_keys.create("test", scope)
            client = httpx2.Client(base_url=guarded.url, timeout=20, headers={"authorization": f"Bearer {key}"})
            clients.append(stack.enter_context(client))
        yield store, *clients


def submitted(client, **changes):
    answer = client.post("/v1/jobs", json=body(**changes))
    assert answer.status_code == 202
    return answer.json()["id"]


def listed(client, **query):
    return [job["id"] for job in client.get("/v1/jobs", params=query).json()["jobs"]]


def test_the_job_of_another_cannot_be_canceled(people):
    store, mine, other, _ = people
    job = submitted(mine)
    refused = other.post(f"/v1/jobs/{job}/cancel")
    assert (refused.status_code, refused.json()["expected"]) == (403, "a job that this key has submitted, or a key of scope admin")
    assert store.jobs.get(job).state is JobState.QUEUED
    assert mine.post(f"/v1/jobs/{job}/cancel").json()["state"] == "canceled"


def test_a_shared_job_ends_when_the_last_one_withdraws(people):
    store, mine, other, _ = people
    job = submitted(mine)
    assert submitted(other) == job
    for _ in range(2):
        assert mine.post(f"/v1/jobs/{job}/cancel").json()["state"] == "queued"
    assert other.post(f"/v1/jobs/{job}/cancel").json()["state"] == "canceled"
    assert store.jobs.get(job).state is JobState.CANCELED


def test_a_running_job_goes_on_for_whoever_asks_again(people):
    store, mine, other, _ = people
    job = submitted(mine)
    token = store.jobs.start(job, "w")
    assert mine.post(f"/v1/jobs/{job}/cancel").json()["state"] == "running"
    assert submitted(other) == job
    assert store.jobs.stop(job, token), "the worker had been told to stop"
    assert store.jobs.get(job).state is JobState.QUEUED


def test_an_administrator_ends_it_for_everybody(people):
    _, mine, other, admin = people
    job = submitted(mine)
    submitted(other)
    assert admin.post(f"/v1/jobs/{job}/cancel").json()["state"] == "canceled"


def test_a_list_has_what_the_key_has_asked_for(people):
    store, mine, other, admin = people
    first, shared, last = submitted(mine, nfe=8), submitted(mine, nfe=9), submitted(other, nfe=10)
    assert submitted(other, nfe=9) == shared
    assert listed(mine) == [shared, first]
    assert listed(other) == [last, shared]
    assert listed(admin) == [last, shared, first]
    assert listed(other, state="running") == []
    store.jobs.start(shared, "w")
    assert listed(other, state="running", model="toy") == [shared]
    assert listed(other, model="none") == []
    page = mine.get("/v1/jobs", params={"limit": 1}).json()
    assert [job["id"] for job in page["jobs"]] == [shared]
    assert listed(mine, limit=1, cursor=page["next_cursor"]) == [first]


def test_what_was_stored_already_is_in_the_list_too(people):
    store, mine, other, _ = people
    measured(store)
    job = submitted(mine)
    assert store.jobs.get(job).state is JobState.SUCCEEDED
    assert (listed(mine), listed(other)) == ([job], [])


def test_a_job_that_waits_counts_against_whoever_is_left(redis):
    store = Store(redis)
    job, _ = store.jobs.submit(request(), origin=Origin(owner="a"))
    store.jobs.submit(request(), origin=Origin(owner="b"))
    store.jobs.cancel(job.id, owner="a")
    assert redis.zcard("ays:2:waiting:owner:a") == 0
    assert redis.zcard("ays:2:waiting:owner:b") == 1


def test_records_are_dropped_with_their_lists(redis, monkeypatch):
    store = Store(redis)
    job, _ = store.jobs.submit(request(), origin=Origin(owner="a"))
    store.jobs.cancel(job.id)
    monkeypatch.setattr(jobs, "RECORDS_SECONDS", -1)
    assert store.jobs.forget() == 1
    assert not [name for name in redis.scan_iter() if job.id in name.decode() or b"owner" in name]
