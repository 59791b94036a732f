"""Priorities and bounds of the queue over HTTP, and 64 clients at once on two services and a real worker."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from ays_client import Client, Unavailable
from ays_client.contract import Job, Priority, identity
from ays_store import Store, keys
from ays_store.api_keys import Scope
from tests.cli.conftest import MODELS
from tests.service.server import Server
from tests.service.worker import body, request, work
from tests.store.waiting import until
from tests.worker_shell.conftest import Process

CLIENTS = 64
HANG_SECONDS = 120
"""Far more than it takes: a deadlock is what this is for."""


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


def at_once(urls, bodies, headers=None):
    """Sends each body from a client of its own, all at the same moment; the answers in order."""
    barrier = threading.Barrier(len(bodies))

    def post(number):
        sent = {} if headers is None else headers[number]
        with httpx2.Client(base_url=urls[number % len(urls)], timeout=HANG_SECONDS, headers=sent) as client:
            client.get("/healthz")
            barrier.wait(HANG_SECONDS)
            return client.post("/v1/jobs", json=bodies[number])

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, range(len(bodies)), timeout=HANG_SECONDS))


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


def test_64_clients_on_two_services_and_a_worker(redis_url, redis, tmp_path):
    """The same requests are one job each, the different ones share one profile, and all of them end."""
    models, store = tmp_path / "models.toml", Store(redis)
    models.write_text(MODELS)
    # Eight requests of one profile, each by eight clients.
    cells = [(solver, nfe) for solver in ("ddim", "dpmpp_2m") for nfe in (4, 5, 6, 7)]
    bodies = [{"model": "small", "solver": solver, "nfe": nfe, "effort": "fast", "paths": 32, "grid": 16} for solver, nfe in cells]
    for number, each in enumerate(bodies):
        each["detail"] = 1.0 + number / 10
    worker = Process(redis_url, tmp_path, 0, "worker", {"AYS_MODELS": str(models), "AYS_THREADS": "1", "AYS_LOG_LEVEL": "debug"})
    try:
        with Server(redis_url, tmp_path / "log1") as first, Server(redis_url, tmp_path / "log2") as second:
            until(store.workers.live, seconds=HANG_SECONDS, what="a live worker")
            answers = at_once((first.url, second.url), CLIENTS // len(bodies) * bodies)
            assert {answer.status_code for answer in answers} == {202}
            ids = {answer.json()["id"] for answer in answers}
            assert len(ids) == len(bodies)
            until(lambda: all(store.jobs.get(each).state.final for each in ids), seconds=HANG_SECONDS, what="the end of all jobs")
        jobs = [store.jobs.get(each) for each in ids]
        assert {(job.state, job.attempts) for job in jobs} == {("succeeded", 1)}
        assert len(store.jobs.list(limit=200)[0]) == len(bodies)
        assert redis.hmget(keys.COUNTERS, "submitted", "runs") == 2 * [str(len(bodies)).encode()]
        assert len(list(redis.scan_iter(keys.profile("*")))) == 1
        kept = [(entry["profile"], entry["shard"]) for entry in worker.said("shard kept")]
        assert len(kept) == len(set(kept)) > 0
        assert not worker.said("shard measured in vain")
        assert worker.end() == 0
    finally:
        if worker.popen.poll() is None:
            worker.kill()
