"""Lookups from memory: the same answers as without, current in every process, and still there when Redis is not."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from redis import Redis

from ays_client.contract import Effort, Solver
from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from service.schedules.cache import FRESH_SECONDS
from tests.service.server import Server
from tests.service.test_metrics import scraped
from tests.service.worker import body, finish, measured, request, toy, work
from tests.store.waiting import until

ALIAS = "/v1/schedules?model=toy&nfe=8"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A Redis that may be stopped, and two servers in front of it."""
    folder = tmp_path_factory.mktemp("lookups")
    with EmbeddedRedis(folder / "redis") as server, Server(server.url, folder / "a") as a, Server(server.url, folder / "b") as b:
        yield server, a, b


@pytest.fixture
def clients(house):
    _, a, b = house
    with httpx2.Client(base_url=a.url, timeout=20) as first, httpx2.Client(base_url=b.url, timeout=20) as second:
        yield first, second


@pytest.fixture
def own(house):
    """The store of that Redis: emptied, with the model `toy` on offer."""
    client = Redis.from_url(house[0].url)
    client.flushall()
    store = Store(client)
    store.models.publish([toy()], source="host")
    yield store
    client.close()


def found(client):
    """How lookups were answered so far."""
    seen = scraped(client)
    return {result: seen["ays_schedule_lookups_total", ("result", result)] for result in ("hit", "miss", "stale")}


def answered(client, path, **headers):
    """An answer, and how it was found."""
    before = found(client)
    answer = client.get(path, headers=headers)
    after = found(client)
    return answer, [result for result in after if after[result] > before[result]]


def settled(client, path=ALIAS):
    """The answer, once it comes from memory."""
    return until(lambda: next((answer for answer, how in [answered(client, path)] if how == ["hit"]), None))


def moved(client, path, old):
    """Seconds until an answer is another one than before."""
    start = time.monotonic()
    until(lambda: client.get(path).headers["etag"] != old)
    return time.monotonic() - start


def test_the_second_answer_is_the_first_one_from_memory(own, clients):
    measured(own)
    first, how = answered(clients[0], ALIAS, **{"if-none-match": '"other"'})
    assert (first.status_code, how) == (200, ["miss"])
    again, how = answered(clients[0], ALIAS)
    assert how == ["hit"]
    varying = {"date", "x-request-id"}
    assert {k: v for k, v in again.headers.items() if k not in varying} == {k: v for k, v in first.headers.items() if k not in varying}
    assert again.content == first.content
    unchanged, how = answered(clients[0], ALIAS, **{"if-none-match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content, how) == (304, b"", ["hit"])
    assert (unchanged.headers["etag"], unchanged.headers["cache-control"]) == (first.headers["etag"], first.headers["cache-control"])
    assert "content-length" not in unchanged.headers


def test_the_first_answer_may_be_304_and_is_kept_whole(own, clients):
    tag = f'"{measured(own).id}"'
    first, how = answered(clients[0], ALIAS, **{"if-none-match": tag})
    assert (first.status_code, how) == (304, ["miss"])
    again, how = answered(clients[0], ALIAS)
    assert (again.json()["model"], how) == ("toy", ["hit"])


@pytest.mark.parametrize("path", [f"{ALIAS}&format=comfyui", f"{ALIAS}&nfe=9&fallback=nearest", f"{ALIAS}&source=stock"])
def test_formats_and_fallbacks_are_kept_as_well(own, clients, path):
    measured(own, table=(8, 64))
    path = path.replace("nfe=8&nfe=9", "nfe=9")
    first, how = answered(clients[0], path)
    assert (first.status_code, how) == (200, ["miss"])
    again, how = answered(clients[0], path)
    assert (again.content, how) == (first.content, ["hit"])


def test_a_schedule_by_its_id_is_kept_and_a_missing_one_is_not(own, clients):
    asked = request()
    assert clients[0].get(ALIAS).status_code == 404
    own.jobs.submit(asked)
    wanted = finish(own, asked, work(own, asked))
    path = f"/v1/schedules/{wanted.id}"
    assert (answered(clients[0], path)[1], answered(clients[0], path)[1]) == (["miss"], ["hit"])
    assert until(lambda: clients[0].get(ALIAS).status_code == 200)


def test_packed_and_plain_answers_are_kept_apart(own, clients):
    measured(own, nfe=64)
    path = "/v1/schedules?model=toy&nfe=64&format=diffusers"
    answers = [clients[0].get(path, headers={"accept-encoding": coding}) for coding in ("gzip", "identity", "gzip", "identity")]
    assert len({answer.content for answer in answers}) == 1


def test_every_process_serves_the_new_schedule_once_the_alias_has_moved(own, clients):
    old = measured(own)
    for client in clients:
        assert settled(client).json()["id"] == old.id
    new = measured(own, effort=Effort.MAX)
    for client in clients:
        assert moved(client, ALIAS, f'"{old.id}"') < FRESH_SECONDS
        assert client.get(ALIAS).json()["id"] == new.id


def test_a_fallback_gives_way_to_what_is_computed(own, clients):
    measured(own, table=(6, 8))
    path = "/v1/schedules?model=toy&nfe=12&fallback=nearest"
    base = settled(clients[0], path)
    assert base.json()["source"] == "interpolated"
    measured(own, nfe=12)
    moved(clients[0], path, base.headers["etag"])
    assert clients[0].get(path).json()["source"] == "optimized"


def test_other_weights_end_an_answer(own, clients):
    measured(own)
    settled(clients[0])
    own.models.publish([toy(fingerprint="f1")], source="host")
    until(lambda: clients[0].get(ALIAS).status_code == 404)


def test_a_change_while_nobody_listened_is_seen_afterwards(house, own, clients):
    old = measured(own)
    settled(clients[0])
    # The server cannot hear of the commit: it is not running. Its connections are gone when it runs again.
    os.kill(house[1].process.pid, signal.SIGSTOP)
    own.redis.client_kill_filter(_type="normal", skipme=True)
    measured(own, effort=Effort.MAX)
    os.kill(house[1].process.pid, signal.SIGCONT)
    assert moved(clients[0], ALIAS, f'"{old.id}"') < FRESH_SECONDS


def test_one_of_many_looks_up_what_all_ask_for(house, own):
    measured(own)
    with ThreadPoolExecutor(16) as threads, httpx2.Client(base_url=house[1].url, timeout=20) as client:
        settled(client)
        path = f"{ALIAS}&format=kdiffusion"
        before = found(client)
        answers = list(threads.map(lambda _: client.get(path), range(64)))
        after = found(client)
    assert {answer.status_code for answer in answers} == {200}
    assert (after["miss"] - before["miss"], after["hit"] - before["hit"]) == (1, 63)


def stale(answer):
    return "warning" in answer.headers


def check_away(client, wanted, uncached):
    """What is answered while Redis is away."""
    answer = until(lambda: next((each for each in [client.get(ALIAS)] if stale(each)), None))
    assert (answer.status_code, answer.json()["id"]) == (200, wanted.id)
    assert answer.headers["warning"].startswith('110 - "Redis is away')
    assert int(answer.headers["age"]) >= FRESH_SECONDS
    assert answer.headers["cache-control"] == "no-cache"
    unchanged = client.get(ALIAS, headers={"if-none-match": f'"{wanted.id}"'})
    assert (unchanged.status_code, stale(unchanged)) == (304, True)
    by_id = client.get(f"/v1/schedules/{wanted.id}")
    assert (by_id.status_code, stale(by_id)) == (200, False)
    for answer in (client.post("/v1/jobs", json=body()), client.get("/v1/jobs"), client.get(uncached)):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("how", ["stopped", "silent"])
def test_without_redis_what_is_cached_is_served_and_marked(house, own, clients, how):
    server, client = house[0], clients[0]
    wanted = measured(own)
    settled(client)
    client.get(f"/v1/schedules/{wanted.id}")
    started = house[1].process.pid
    if how == "stopped":
        server.stop()
    else:
        os.kill(server.pid, signal.SIGSTOP)
    try:
        check_away(client, wanted, f"{ALIAS}&solver=ddim")
    finally:
        if how == "stopped":
            server.start()
        else:
            os.kill(server.pid, signal.SIGCONT)
    answer = until(lambda: next((each for each in [client.get(ALIAS)] if not stale(each)), None))
    assert answer.json()["id"] == wanted.id
    assert client.post("/v1/jobs", json=body(solver=Solver.DDIM)).status_code == 202
    new = measured(own, effort=Effort.MAX)
    until(lambda: client.get(ALIAS).json()["id"] == new.id)
    assert house[1].process.poll() is None
    assert house[1].process.pid == started


def test_a_redis_that_does_not_tell_is_asked_every_time(house, own, tmp_path):
    own.redis.acl_setuser("deaf", enabled=True, passwords=["+x"], keys="*", channels="*", commands=["+@all", "-client"])
    measured(own)
    url = f"{house[0].url}?username=deaf&password=x"
    with Server(url, tmp_path / "log") as server, httpx2.Client(base_url=server.url, timeout=20) as client:
        until(lambda: any("does not tell of changes" in record["event"] for record in server.records()))
        assert [answered(client, ALIAS)[1] for _ in range(2)] == [["miss"], ["miss"]]
        new = measured(own, effort=Effort.MAX)
        assert client.get(ALIAS).json()["id"] == new.id
    own.redis.acl_deluser("deaf")


def test_the_cache_can_be_switched_off(own, house, tmp_path):
    measured(own)
    with Server(house[0].url, tmp_path / "log", AYS_CACHE_ENTRIES=0) as server, httpx2.Client(base_url=server.url, timeout=20) as client:
        until(lambda: client.get(ALIAS).status_code == 200)
        assert [answered(client, ALIAS)[1] for _ in range(2)] == [["miss"], ["miss"]]


def test_answers_from_memory_are_logged_for_debugging_only(own, house, clients):
    measured(own)
    settled(clients[0])
    clients[0].get(ALIAS, headers={"x-request-id": "from-memory"})
    clients[0].get("/healthz", headers={"x-request-id": "after"})
    logged = until(lambda: {record.get("request_id") for record in house[1].records()} & {"from-memory", "after"})
    assert logged == {"after"}
