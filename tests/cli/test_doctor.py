"""`ays doctor` tells what is wrong, and nothing is wrong with a stack that runs."""

import json
import re
import time

import pytest

from ays_client.version import VERSION
from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from tests.cli.commands import ays, running

NO_TORCH = {"AYS_THREADS": "0"}
"""A worker that is wrongly configured says so before it imports torch, which takes seconds."""


def examined(folder, *options, **environment):
    """Exit status and findings, `(about, verdict)` -> `(seen, fix)`."""
    ended = ays("doctor", "--json", *options, cwd=folder, **environment)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert all(bool(each["fix"]) == (each["verdict"] != "ok") for each in found)
    return ended.returncode, {(each["about"], each["verdict"]): (each["seen"], each["fix"]) for each in found}


def test_a_stack_that_runs_is_well(tmp_path):
    with running("serve", "--port", "0", cwd=tmp_path) as command:
        command.wait_for("ready; Ctrl-C stops everything")
        status, found = examined(tmp_path, "--url", command.out.split()[1])
        assert (status, {verdict for _, verdict in found}) == (0, {"ok"}), found
        assert found["api", "ok"][0].endswith(f"is ready, version {VERSION}")
        assert "digits" in found["models", "ok"][0]
        assert {"redis", "persistence", "memory", "user", "clock", "workers", "device", "disk"} <= {about for about, _ in found}


def test_nothing_runs(tmp_path):
    status, found = examined(tmp_path, "--url", "http://127.0.0.1:9", AYS_THREDS="2", AYS_MODELS="nowhere.toml", AYS_PORT="http")
    assert status == 1
    assert found["variables", "warn"] == ("nothing reads AYS_THREDS", "rename it to AYS_THREADS")
    assert found["worker", "fail"][0].startswith("AYS_MODELS: received 'nowhere.toml'")
    assert found["service", "fail"][0].startswith("AYS_PORT: received 'http'")
    assert "ays serve" in found["redis", "warn"][1]
    assert found["api", "warn"][0].startswith("nothing of ours answers at http://127.0.0.1:9")
    text = ays("doctor", "--url", "http://127.0.0.1:9", cwd=tmp_path, **NO_TORCH)
    assert text.returncode == 1
    assert re.search(r"^fail  worker      AYS_THREADS: received '0'.*\n +-> correct the variable", text.stdout, re.MULTILINE)
    assert text.stderr.startswith("2 ok, 2 warn, 1 fail")


def test_a_models_file_that_is_wrong(tmp_path):
    (tmp_path / "models.toml").write_text('[models.mine]\nkind = "diffusers"\n')
    status, found = examined(tmp_path, AYS_MODELS="models.toml")
    assert status == 1
    assert "mine" in found["models", "fail"][0]


@pytest.fixture(scope="module")
def careless(tmp_path_factory):
    """A Redis that keeps nothing, evicts, and knows a worker of another version and a job that nobody takes."""
    with EmbeddedRedis(tmp_path_factory.mktemp("careless")) as redis:
        yield redis


def test_a_redis_that_loses_jobs(careless, tmp_path):
    store = Store.open(careless.url)
    store.redis.config_set("appendonly", "no")
    store.redis.config_set("maxmemory-policy", "allkeys-lru")
    store.workers.beat("w1", {"version": "0.0.1", "device": "toy"})
    status, found = examined(tmp_path, AYS_REDIS_URL=careless.url, **NO_TORCH)
    assert status == 1
    assert "lost job" in found["memory", "fail"][1]
    assert "appendonly" in found["persistence", "warn"][0]
    assert found["versions", "warn"][0] == f"workers of version 0.0.1, this is {VERSION}"
    assert found["workers", "ok"][0] == "1 alive, on toy"
    store.redis.config_set("maxmemory-policy", "noeviction")
    store.redis.config_set("maxmemory", int(1.1 * store.redis.info("memory")["used_memory"]))
    store.workers.leave("w1")
    _, found = examined(tmp_path, AYS_REDIS_URL=careless.url, **NO_TORCH)
    assert "maxmemory" in found["memory", "warn"][1]
    assert "ays worker" in found["workers", "fail"][1]
    store.close()


def test_a_redis_that_is_away_or_refuses_us(careless, tmp_path):
    start = time.monotonic()
    status, found = examined(tmp_path, AYS_REDIS_URL="redis://:secret@127.0.0.1:9", **NO_TORCH)
    assert (status, time.monotonic() - start < 20) == (1, True)
    assert found["redis", "fail"][0].startswith("it does not answer: ConnectionError")
    assert "secret" not in str(found)
    store = Store.open(careless.url)
    store.redis.acl_setuser("meek", enabled=True, passwords=["+secret"], keys=["*"], commands=["+ping", "+info", "+time"])
    socket = careless.url.removeprefix("unix://")
    status, found = examined(tmp_path, AYS_REDIS_URL=f"unix://meek:secret@{socket}", **NO_TORCH)
    assert status == 1
    assert "refuses us a command" in found["redis", "fail"][0]
    store.close()
