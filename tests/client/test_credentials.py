"""The clients send the key that they are given, or that of the environment, and show it to nobody."""

import pytest

from ays_client import AccessDenied, Client, Schedules
from ays_store.api_keys import Scope
from tests.service.server import Server
from tests.service.worker import body, measured


@pytest.fixture(scope="module")
def guarded_url(redis_url, tmp_path_factory):
    with Server(redis_url, tmp_path_factory.mktemp("guarded") / "log", AYS_REQUIRE_KEYS="true") as server:
        yield server.url


@pytest.fixture
def key(store):
    return store.api_keys.create("client", Scope.READ)[1]


def test_a_key_given_wins_over_that_of_the_environment(guarded_url, store, key, monkeypatch):
    measured(store)
    monkeypatch.setenv("AYS_API_KEY", f" {key}\n")
    with Client(guarded_url) as client:
        assert client.schedule("toy", nfe=8).nfe == 8
    with Client(guarded_url, api_key="") as client, pytest.raises(AccessDenied, match="Authorization: Bearer"):
        client.models()
    monkeypatch.setenv("AYS_API_KEY", "ays_000000000000_wrong")
    with Client(guarded_url, api_key=key) as client:
        assert client.models()


def test_a_key_may_be_in_a_file(guarded_url, store, key, monkeypatch, tmp_path):
    measured(store)
    (tmp_path / "key").write_text(f"{key}\n")
    monkeypatch.setenv("AYS_API_KEY_FILE", str(tmp_path / "key"))
    with Client(guarded_url) as client:
        assert client.schedule("toy", nfe=8).nfe == 8
    monkeypatch.setenv("AYS_API_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="AYS_API_KEY_FILE="):
        Client(guarded_url)


def test_what_a_key_may_not_do_is_an_error_that_says_so(guarded_url, key):
    with Client(guarded_url, api_key=key) as client, pytest.raises(AccessDenied, match="scope submit") as caught:
        client.submit(body())
    assert caught.value.problem.status == 403
    assert key not in f"{caught.value!r} {caught.value.problem!r}"


def test_event_streams_carry_the_key(guarded_url, store):
    measured(store)
    key = store.api_keys.create("follower", Scope.SUBMIT)[1]
    with Client(guarded_url, api_key=key) as client:
        job = client.submit(body())
        assert [event.state.final for event in client.events(job.id)][-1]


def test_schedules_are_fetched_with_the_key(guarded_url, store, key, tmp_path):
    measured(store)
    assert Schedules(guarded_url, snapshots=tmp_path, api_key=key, strict=True, wait_seconds=20).get("toy", nfe=8).nfe == 8
    with pytest.raises(AccessDenied):
        Schedules(guarded_url, snapshots=None, strict=True, wait_seconds=20, api_key="").get("toy", nfe=8)
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("secret", ["two words", "l\u00e4ngs", "a\r\nx-evil: 1"])
def test_what_could_be_no_key_is_refused_unseen(guarded_url, secret):
    for kind in (Client, Schedules):
        with pytest.raises(ValueError, match="API key with blanks") as caught:
            kind(guarded_url, api_key=secret)
        assert secret not in str(caught.value)
