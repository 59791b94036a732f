"""With API keys: who gets in, with which scope, how often, and what happens while Redis is away."""

import re
import time

import httpx2
import pytest
from redis import Redis

from ays_store import Store
from ays_store.api_keys import Scope
from service.access.known_keys import FRESH_SECONDS
from service.access.refusals import PER_MINUTE
from service.local.embedded_redis import EmbeddedRedis
from tests.service.server import Server
from tests.service.worker import body, measured, request, toy
from tests.store.waiting import until

OPEN = ["/", "/docs", "/openapi.json", "/healthz"]
GUARDED = ["/v1/jobs", "/v1/jobs/x", "/v1/jobs/x/events", "/v1/schedules", "/v1/schedules/x/samples", "/v1/models", "/metrics", "/nowhere"]


class Guarded:
    """A server that asks for keys, and its Redis."""

    def __init__(self, server, redis):
        self.server, self.redis = server, redis
        self.store = Store(Redis.from_url(redis.url))
        self.store.models.publish([toy()], source="host")
        self.keys = {scope: self.store.api_keys.create(f"test of {scope}", scope)[1] for scope in Scope}

    def client(self, key=None, **headers):
        authorization = {"authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(base_url=self.server.url, timeout=20, headers=authorization | headers)

    def get(self, path, key=None, **options):
        with self.client(key) as client:
            return client.get(path, **options)

    def post(self, path, key=None, **options):
        with self.client(key) as client:
            return client.post(path, **options)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    settings = {"AYS_REQUIRE_KEYS": "true", "AYS_READS_PER_MINUTE": 5000, "AYS_SUBMITS_PER_MINUTE": 3}
    with EmbeddedRedis(folder / "redis") as redis, Server(redis.url, folder / "log", **settings) as server:
        yield Guarded(server, redis)


def test_the_page_the_documents_and_the_probes_are_open(guarded):
    for path in OPEN:
        assert guarded.get(path).status_code == 200, path
    # That no worker lives may be known; probes send no key.
    assert guarded.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", GUARDED)
def test_without_a_key_nothing_else_is_told(guarded, path):
    answer = guarded.get(path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="ays"'
    assert "Authorization: Bearer" in answer.json()["fix"]


@pytest.mark.parametrize(
    "sent",
    [
        "Bearer",
        "Bearer nonsense",
        "Basic YTpi",
        "Bearer ays_000000000000_" + "x" * 43,
        "Bearer ays_\xe4",
    ],
)
def test_what_is_no_key_of_ours_opens_nothing(guarded, sent):
    with guarded.client() as client:
        answer = client.get("/v1/models", headers={"authorization": sent.encode("latin-1")})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="ays", error="invalid_token"')
    assert sent == "Bearer" or sent not in answer.text


def test_the_id_of_a_key_with_another_secret_opens_nothing(guarded):
    key = guarded.keys[Scope.READ]
    assert guarded.get("/v1/models", key).status_code == 200
    forged = key[:-1] + ("A" if key[-1] != "A" else "B")
    for wrong in (forged, key[:-1], f"{key}A", key.upper()):
        assert guarded.get("/v1/models", wrong).status_code == 401


def test_a_scope_includes_the_ones_before_it_and_no_other(guarded):
    for scope in Scope:
        assert guarded.get("/v1/models", guarded.keys[scope]).status_code == 200
    for scope, status in ((Scope.READ, 403), (Scope.SUBMIT, 202), (Scope.ADMIN, 202)):
        answer = guarded.post("/v1/jobs", guarded.keys[scope], json=body())
        assert answer.status_code == status
    refused = guarded.post("/v1/jobs/x/cancel", guarded.keys[Scope.READ])
    assert refused.json()["expected"] == "a key of scope submit"
    assert 'scope="submit"' in refused.headers["www-authenticate"]


def test_what_a_key_may_read_no_shared_cache_may_keep(guarded):
    schedule = measured(guarded.store)
    answers = [
        guarded.get(path, guarded.keys[Scope.READ])
        for path in (f"/v1/schedules/{schedule.id}", "/v1/schedules?model=toy&nfe=8", "/v1/models", "/v1/jobs")
    ]
    for answer in answers:
        policy = answer.headers["cache-control"]
        assert answer.status_code == 200
        assert "public" not in policy
        assert "private" in policy or "no-store" in policy
    again = guarded.get("/v1/schedules?model=toy&nfe=8", guarded.keys[Scope.READ], headers={"if-none-match": answers[1].headers["etag"]})
    assert (again.status_code, "private" in again.headers["cache-control"]) == (304, True)


def test_a_key_in_a_url_is_refused_and_not_repeated(guarded):
    key = guarded.keys[Scope.READ]
    for path in (f"/v1/models?key={key}", f"/v1/models/{key}", f"/v1/models?{key}"):
        answer = guarded.get(path, key)
        assert answer.status_code == 400
        assert key not in answer.text
        assert "revoke" in answer.json()["fix"]
    assert key not in guarded.server.log.read_text()


def test_a_revoked_key_is_refused_within_seconds(guarded):
    record, key = guarded.store.api_keys.create("short-lived", Scope.READ)
    assert guarded.get("/v1/models", key).status_code == 200
    assert guarded.store.api_keys.revoke(record.id)
    until(lambda: guarded.get("/v1/models", key).status_code == 401, seconds=FRESH_SECONDS + 5, what="the end of a revoked key")
    assert not guarded.store.api_keys.revoke(record.id)


def test_the_rate_is_told_and_kept(guarded):
    _, key = guarded.store.api_keys.create("busy", Scope.SUBMIT)
    first, *others = [guarded.post("/v1/jobs", key, json=body(nfe=nfe)) for nfe in (8, 9, 10, 11)]
    assert [answer.status_code for answer in (first, *others)] == [202, 202, 202, 429]
    assert first.headers["ratelimit-policy"] == '"submit";q=3;w=60'
    assert re.fullmatch(r'"submit";r=2;t=(19|20)', first.headers["ratelimit"])
    refused = others[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    # Reading is another bucket, and so is every other key.
    assert guarded.get("/v1/jobs", key).headers["ratelimit-policy"] == '"read";q=5000;w=60'
    assert guarded.post("/v1/jobs", guarded.store.api_keys.create("idle", Scope.SUBMIT)[1], json=body()).status_code == 202


def test_logs_name_the_key_by_its_id(guarded):
    record, key = guarded.store.api_keys.create("named", Scope.READ)
    assert guarded.get("/v1/models", key).status_code == 200
    # A request is logged after it was answered.
    until(lambda: any(line["event"] == "request" and line.get("key") == record.id for line in guarded.server.records()), what="its line")
    assert not any(key in str(line) for line in guarded.server.records())


def test_while_redis_is_away_known_keys_stay_good_and_unknown_ones_come_back(guarded):
    """The last test: it stops the Redis."""
    known, unknown = guarded.keys[Scope.ADMIN], guarded.store.api_keys.create("later", Scope.READ)[1]
    assert guarded.get("/v1/models", known).status_code == 200
    guarded.redis.stop()
    # Whether the answer itself can be given is not the guard's matter: `/nowhere` needs no Redis.
    until(lambda: guarded.get("/nowhere", unknown).status_code == 503, seconds=10, what="the refusal of an unknown key")
    refused = guarded.get("/nowhere", unknown)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert guarded.get("/nowhere", known).status_code == 404
    forged = known[:-1] + ("A" if known[-1] != "A" else "B")
    assert guarded.get("/nowhere", forged).status_code == 401
    guarded.redis.start()
    until(lambda: guarded.get("/v1/models", unknown).status_code == 200, seconds=10, what="the acceptance of the key")


def test_the_stream_of_a_revoked_key_ends_within_seconds(guarded):
    record, key = guarded.store.api_keys.create("watching", Scope.READ)
    job, _ = guarded.store.jobs.submit(request(seed=77))
    with guarded.client(key) as client, client.stream("GET", f"/v1/jobs/{job.id}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        assert guarded.store.api_keys.revoke(record.id)
        revoked = time.monotonic()
        assert ": not the end of the job; connect again with Last-Event-ID" in list(lines)
        assert time.monotonic() - revoked < FRESH_SECONDS
    assert guarded.get(f"/v1/jobs/{job.id}/events", key).status_code == 401


def test_an_address_that_tries_keys_is_told_to_wait_and_good_keys_go_on(guarded):
    good = guarded.keys[Scope.READ]
    with guarded.client(None, **{"x-forwarded-for": "203.0.113.9"}) as client:

        def ask(key):
            return client.get("/v1/models", headers={"authorization": f"Bearer {key}"})

        assert ask(good).status_code == 200
        answers = [ask(f"ays_{number:012x}_" + "x" * 43) for number in range(PER_MINUTE + 2)]
        assert {answer.status_code for answer in answers[: PER_MINUTE - 1]} == {401}
        assert answers[-1].status_code == 429
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert ask(good).status_code == 200
    assert guarded.get("/v1/models", "ays_0").status_code == 401, "another address"
    assert '"client": "203.0.113.9"' in guarded.server.log.read_text()
