"""Administrators forget results; a refused submission leaves nothing."""

import httpx2
import pytest

from ays_client.contract import identity
from ays_store import keys
from ays_store.api_keys import Scope
from tests.service.server import Server
from tests.service.test_curves import BODY
from tests.service.worker import body, measured, request


@pytest.fixture
def full(redis_url, store, tmp_path):
    """A service whose queue has room for one job, which is taken."""
    with (
        Server(redis_url, tmp_path / "log", AYS_QUEUE_LIMIT=1) as server,
        httpx2.Client(base_url=server.url, timeout=20) as client,
    ):
        store.jobs.submit(request())
        yield client


def test_a_curve_whose_job_is_refused_is_not_kept(full, redis):
    before = sorted(redis.scan_iter())
    for shift in range(20):
        answer = full.post("/v1/curves", json=BODY | {"loss": [loss * (1 + shift / 1000) for loss in BODY["loss"]]})
        assert answer.status_code == 503, answer.text
    assert sorted(redis.scan_iter()) == before
    assert not [name for name in before if name.decode().startswith(keys.curve(""))]


def test_only_an_administrator_forgets(redis_url, store, tmp_path):
    measured(store)
    profile = identity(request().variant)
    _, admin = store.api_keys.create("admin", Scope.ADMIN)
    _, submit = store.api_keys.create("submit", Scope.SUBMIT)
    with (
        Server(redis_url, tmp_path / "log", AYS_REQUIRE_KEYS="true") as server,
        httpx2.Client(base_url=server.url, timeout=20) as client,
    ):
        paths = (f"/v1/profiles/{profile}", "/v1/models/toy/schedules")
        for path in paths:
            assert client.delete(path, headers={"authorization": f"Bearer {submit}"}).status_code == 403
        client.headers["authorization"] = f"Bearer {admin}"
        assert client.get("/v1/schedules", params=body()).status_code == 200
        assert client.delete(paths[0]).json() == {"tables": 1, "schedules": 63}
        assert client.get("/v1/schedules", params=body()).status_code == 404, "not from memory either"
        assert [client.delete(path).status_code for path in paths] == [404, 404]
        assert client.get("/v1/jobs").json()["jobs"] != []
