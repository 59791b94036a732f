"""Priorities and bounds of the queue over HTTP."""

from collections import Counter

import pytest

from ays_client import Client, Unavailable
from ays_client.contract import Job, Priority, identity
from ays_store import keys
from ays_store.api_keys import Scope
from tests.service.at_once import at_once
from tests.service.server import Server
from tests.service.worker import body, request, work

CLIENTS = 64


@pytest.fixture(scope="module")
def narrow(redis_url, tmp_path_factory):
    """Two services that ask for keys, with room for 20 jobs, 8 of a key."""
    bounds = {"AYS_QUEUE_LIMIT": 20, "AYS_QUEUE_LIMIT_PER_KEY": 8, "AYS_REQUIRE_KEYS": "true", "AYS_SUBMITS_PER_MINUTE": 0}
    folder = tmp_path_factory.mktemp("narrow")
    with Server(redis_url, folder / "log1", **bounds) as first, Server(redis_url, folder / "log2", **bounds) as second:
        yield first.url, second.url


@pytest.fixture
def key(store):
    """Makes API keys."""
    return lambda name: store.api_keys.create(name, Scope.SUBMIT)


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def test_of_64_posts_at_once_as_many_are_accepted_as_there_is_room(narrow, store, key):
    secrets = [key(f"k{number}")[1] for number in range(4)]
    answers = at_once(narrow, [body(seed=seed) for seed in range(CLIENTS)], [bearer(secrets[n % 4]) for n in range(CLIENTS)])
    assert {answer.status_code for answer in answers} <= {202, 429, 503}
    counts = Counter(answer.status_code for answer in answers)
    assert counts[202] == 20 == len(store.jobs.list(limit=200)[0])
    assert store.redis.zcard(keys.WAITING) == 20
    for answer in answers:
        if answer.status_code != 202:
            assert 1 <= int(answer.headers["retry-after"]) <= 600
            assert "try again in" in answer.json()["fix"]


def test_a_key_gets_no_more_than_its_share(narrow, store, key):
    (_, mine), (_, other) = key("mine"), key("other")
    answers = at_once(narrow, [body(seed=seed) for seed in range(16)], 16 * [bearer(mine)])
    assert Counter(answer.status_code for answer in answers) == {202: 8, 429: 8}
    refused = next(answer for answer in answers if answer.status_code == 429).json()
    assert refused["expected"] == "at most 8 jobs of a key in the queue"
    accepted = [answer.json()["request"] for answer in answers if answer.status_code == 202]
    again = at_once(narrow, accepted, len(accepted) * [bearer(mine)])
    assert {answer.status_code for answer in again} == {202}, "what waits already is not refused"
    assert at_once(narrow, [body(seed=99)], [bearer(other)])[0].status_code == 202
    with Client(narrow[0], api_key=mine) as client:
        with pytest.raises(Unavailable, match="too many jobs of this API key") as full:
            client.submit(request(seed=100))
        assert full.value.retry_after == 600, "no worker lives"
        client.cancel(identity(request(**accepted[0])))
        assert client.submit(request(seed=100)).priority is Priority.INTERACTIVE
    assert store.redis.hget(keys.COUNTERS, "refused_key") == b"9"


def test_priority_is_no_part_of_the_request_and_only_rises(http, store):
    def submit(**more):
        return Job.model_validate_json(http.post("/v1/jobs", json=body(**more)).raise_for_status().content)

    calm = submit(priority="batch")
    assert (calm.id, calm.priority) == (identity(request()), Priority.BATCH)
    assert submit().priority is Priority.INTERACTIVE
    assert submit(priority="batch").priority is Priority.INTERACTIVE
    assert len(store.jobs.list()[0]) == 1
    refused = http.post("/v1/jobs", json=body(priority="urgent"))
    assert (refused.status_code, refused.json()["received"]) == (422, {"priority": "urgent"})
    assert "rename priorty to priority" in http.post("/v1/jobs", json=body(priorty="batch")).json()["fix"]


def test_the_owner_of_a_job_is_its_key_and_nobody_else_sees_it(narrow, store, key):
    made, secret = key("studio")
    (answer,) = at_once(narrow, [body()], [bearer(secret)])
    assert store.jobs.origin(answer.json()["id"]).owner == made.id
    assert made.id not in answer.text


def test_without_keys_only_the_whole_queue_is_bounded(redis_url, store, tmp_path):
    with Server(redis_url, tmp_path / "log", AYS_QUEUE_LIMIT=3, AYS_QUEUE_LIMIT_PER_KEY=1) as server:
        answers = at_once([server.url], [body(seed=seed) for seed in range(6)])
        assert Counter(answer.status_code for answer in answers) == {202: 3, 503: 3}
        running = next(answer.json()["request"] for answer in answers if answer.status_code == 202)
        work(store, request(**running))
        assert at_once([server.url], [body(seed=9)])[0].status_code == 202, "a job that runs waits no more"
