"""Probes, and what happens while Redis is away."""

import os
import signal
import time

import httpx2
import pytest
from redis import Redis

from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from tests.service.server import Server
from tests.service.worker import body


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory):
    """A Redis that these tests may stop."""
    with EmbeddedRedis(tmp_path_factory.mktemp("own")) as redis:
        yield redis


@pytest.fixture(scope="module")
def lonely(own_redis, tmp_path_factory):
    with (
        Server(own_redis.url, tmp_path_factory.mktemp("lonely") / "log") as running,
        httpx2.Client(base_url=running.url, timeout=20) as client,
    ):
        yield client


def timed(call):
    start = time.monotonic()
    return call(), time.monotonic() - start


def check_away(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    ready, seconds = timed(lambda: client.get("/readyz"))
    assert (ready.status_code, ready.json()["received"]) == (503, {"missing": "redis"})
    assert seconds < 2
    for call in (
        lambda: client.post("/v1/jobs", json=body()),
        lambda: client.get("/v1/jobs"),
        lambda: client.get("/v1/jobs/0/events"),
        lambda: client.get("/v1/schedules?model=toy&nfe=8"),
        lambda: client.get("/v1/models"),
    ):
        answer, seconds = timed(call)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["content-type"] == "application/problem+json"
        assert seconds < 2


def test_ready_means_redis_and_a_worker(http, store):
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()["received"]) == (503, {"missing": "worker"})
    assert "ays worker" in answer.json()["fix"]
    assert answer.headers["retry-after"]
    store.workers.beat("w1", {})
    store.workers.beat("w2", {})
    assert http.get("/readyz").json() == {"status": "ready", "redis": "ok", "workers": 2, "warnings": []}


def test_a_redis_that_has_stopped_is_a_quick_503_and_comes_back(own_redis, lonely):
    assert lonely.get("/v1/models").status_code == 200
    own_redis.stop()
    check_away(lonely)
    own_redis.start()
    assert lonely.get("/v1/models").status_code == 200


def test_a_redis_that_hangs_is_a_quick_503(own_redis, lonely):
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        check_away(lonely)
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    assert lonely.get("/v1/models").status_code == 200


def test_a_redis_that_may_lose_what_it_took_is_said_everywhere(own_redis, tmp_path):
    client = Redis.from_url(own_redis.url)
    Store(client).workers.beat("w1", {})
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with Server(own_redis.url, tmp_path / "log") as server, httpx2.Client(base_url=server.url, timeout=20) as http:
            (told,) = [record for record in server.records() if record["event"] == "redis is set up wrongly"]
            assert told["seen"] == "maxmemory-policy is allkeys-lru: a full Redis drops jobs and schedules"
            assert http.get("/readyz").json()["warnings"] == [f"{told['seen']}; set it to noeviction"]
            metrics = http.get("/metrics").text
            assert 'ays_redis_unsafe{setting="eviction"} 1.0' in metrics
            assert 'ays_redis_unsafe{setting="persistence"} 0.0' in metrics
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()


def test_a_redis_that_is_full_is_not_ready(own_redis, lonely):
    store = Store.open(own_redis.url)
    store.redis.config_set("maxmemory", 1)
    try:
        ready = lonely.get("/readyz")
    finally:
        store.redis.config_set("maxmemory", 0)
        store.close()
    assert (ready.status_code, ready.json()["received"]) == (503, {"missing": "redis"})
    assert ready.json()["detail"].startswith("Redis refuses to write: ")
    assert "memory" in ready.json()["detail"]


@pytest.mark.usefixtures("store")
def test_every_answer_has_the_security_headers_and_a_request_id(http):
    for path in ("/healthz", "/nope", "/v1/models"):
        headers = http.get(path, headers={"x-request-id": "abc-1"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-request-id"] == "abc-1"
    assert len(http.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"]) == 32


def test_the_documentation_is_there(http):
    assert "swagger-ui-bundle.js" in http.get("/docs").text
    assert http.get("/openapi.json").json()["openapi"].startswith("3.")


def test_requests_are_logged_with_their_id(server, http):
    http.get("/healthz", headers={"x-request-id": "find-me"})
    end = time.monotonic() + 5
    while not (found := [record for record in server.records() if record.get("request_id") == "find-me"]):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert found[0] | {"milliseconds": 0, "timestamp": ""} == {
        "event": "request",
        "level": "info",
        "logger": "service",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/healthz",
        "status": 200,
        "request_id": "find-me",
        "milliseconds": 0,
        "timestamp": "",
    }
