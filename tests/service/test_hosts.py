"""Hosts and origins: what a web site could make a browser on this machine send."""

import asyncio
import re
import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from ays_process.environment import ConfigurationError
from ays_store import Store
from service.access.hosts import is_loopback
from service.access.known_keys import KnownKeys
from service.access.rates import Admissions
from service.app import create_app
from service.settings import Settings, load_settings
from tests.service.server import Server
from tests.service.worker import body


@pytest.fixture(scope="module")
def named(redis_url, tmp_path_factory):
    """A server that has a name and a trusted site."""
    settings = {"AYS_ALLOWED_HOSTS": "ays.example.org", "AYS_CORS_ORIGINS": "https://studio.example.org"}
    with (
        Server(redis_url, tmp_path_factory.mktemp("named") / "log", **settings) as server,
        httpx2.Client(base_url=server.url, timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "LOCALHOST", "ays.localhost"])
def test_loopback_is_known_by_its_own_names(http, host):
    assert http.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.evil.org", "localhost.evil.org:8000", "10.0.0.1", "", "[::1", "ays.example.org"]
)
def test_another_name_is_refused_there(http, host):
    """DNS rebinding: the site's name leads to us, the browser sends that name."""
    answer = http.get("/v1/models", headers={"host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")
    assert "AYS_ALLOWED_HOSTS" in answer.json()["fix"]


def test_the_operator_may_add_a_name(named):
    assert named.get("/v1/models", headers={"host": "ays.example.org"}).status_code == 200
    assert named.get("/v1/models", headers={"host": "AYS.example.org:443"}).status_code == 200
    assert named.get("/v1/models", headers={"host": "other.example.org"}).status_code == 421
    assert named.get("/healthz", headers={"host": "10.0.0.5:8000"}).status_code == 200, "a probe asks for an address"


def test_pages_of_other_sites_change_nothing(http, named, store):
    """Without a body a POST needs no permission of the browser."""
    for client, origin, status in [
        (http, "https://evil.example.org", 403),
        (http, "null", 403),
        (http, "http://localhost:1", 403),
        (http, str(http.base_url).rstrip("/"), 404),
        (named, "https://studio.example.org", 404),
        (named, "https://studio.example.org.evil.org", 403),
    ]:
        answer = client.post("/v1/jobs/none/cancel", headers={"origin": origin})
        assert answer.status_code == status, origin
    assert http.post("/v1/jobs", json=body(), headers={"origin": "https://evil.example.org"}).status_code == 403
    assert store.jobs.list() == ([], None)


def test_no_other_site_may_read_unless_it_is_named(http, named):
    asked = {"origin": "https://studio.example.org"}
    preflight = asked | {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    assert not [name for name in http.get("/v1/models", headers=asked).headers if name.startswith("access-control")]
    assert not [name for name in http.options("/v1/jobs", headers=preflight).headers if name.startswith("access-control")]
    answer = named.get("/v1/models", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://studio.example.org"
    assert "Origin" in answer.headers["vary"]
    allowed = named.options("/v1/jobs", headers=preflight)
    assert allowed.status_code == 200
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in allowed.headers
    other = named.options("/v1/jobs", headers=preflight | {"origin": "https://evil.example.org"})
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (400, False)


LOOPBACK = ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.8.8", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("address", [*LOOPBACK, "0.0.0.0", "::", "::ffff:10.0.0.5", "10.0.0.5", "example.org", "localhost.org", ""])
def test_what_is_loopback(address):
    assert is_loopback(address) is (address in LOOPBACK)


@pytest.mark.parametrize(
    ("configured", "reached", "status"),
    [("127.0.0.1", "127.0.0.1", 200), ("0.0.0.0", "127.0.0.1", 401), ("0.0.0.0", "10.0.0.5", 401), ("127.0.0.1", "10.0.0.5", 401)],
)
def test_keys_are_asked_for_wherever_others_can_reach_it(redis, redis_url, configured, reached, status):
    """Also where a server listens elsewhere than our settings say: `uvicorn service.main:app --host 0.0.0.0`."""
    store = Store(redis)
    state = {"store": store, "known_keys": KnownKeys(store.api_keys.get, grace_seconds=1), "admissions": Admissions(store.rates.take)}
    app = create_app(Settings(redis_url=redis_url, host=configured))

    async def with_state(scope, receive, send):
        await app(scope | {"state": dict(state)}, receive, send)

    async def ask():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(with_state), base_url=f"http://{reached}:8000") as client:
            return await client.get("/v1/models", headers={"host": "localhost"})

    assert asyncio.run(ask()).status_code == status


@pytest.mark.parametrize(
    "added",
    [
        {"x-forwarded-for": "203.0.113.5"},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-proto": "https"},
        {"x-forwarded-host": "ays.example.org"},
        {"x-real-ip": "203.0.113.5"},
        {"forwarded": "for=203.0.113.5;proto=https"},
        {"via": "1.1 caddy"},
    ],
    ids=lambda added: next(iter(added.items())),
)
def test_what_came_through_a_proxy_needs_a_key(http, added):
    """The proxy names us by our address, `Host: 127.0.0.1`, and connects over loopback."""
    asked = added | {"host": "127.0.0.1"}
    assert http.get("/v1/jobs", headers=asked).status_code == 401
    assert http.post("/v1/jobs", json=body(), headers=asked).status_code == 401
    assert http.get("/v1/jobs", headers={"host": "127.0.0.1"}).status_code == 200


def test_what_an_old_proxy_passes_on_unmarked_needs_a_key(server):
    """Nginx without a line of configuration beside `proxy_pass` adds no field; before 1.29.7 it speaks HTTP/1.0."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(f"GET /v1/jobs HTTP/1.0\r\nHost: 127.0.0.1:{parts.port}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65536).split()[1] == b"401"


@pytest.mark.parametrize(
    ("name", "value"),
    [("AYS_CORS_ORIGINS", "*"), ("AYS_CORS_ORIGINS", "https://a.org/"), ("AYS_CORS_ORIGINS", "a.org"), ("AYS_ALLOWED_HOSTS", "a.org:80")],
)
def test_a_list_that_would_not_do_what_it_says_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: received '{re.escape(value)}'; .*expected"):
        load_settings()
