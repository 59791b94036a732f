"""Every kind of value that we read back from Redis or from a file, damaged: clear errors, and nothing else suffers."""

import random

import httpx2
import pytest

from ays_store import ArchiveError, Store
from service.local.embedded_redis import EmbeddedRedis
from tests.cli.commands import ays
from tests.fuzz.campaign import campaign
from tests.fuzz.files import damaged_files
from tests.fuzz.mutate import mutated_bytes, mutated_json
from tests.fuzz.stored import KINDS, Stored, fill_all
from tests.service.server import Server
from tests.store.archives import exported, imported, opened, results, sealed

ROUNDS, SEED = 2, 5


@pytest.fixture
def filled(redis):
    known = fill_all(redis)
    return known, Stored(redis)


def test_no_kind_of_key_is_left_out(filled):
    assert set(filled[1].by_kind) == set(KINDS)


def test_a_damaged_value_harms_nothing_but_itself(redis, redis_url, tmp_path):
    wrong = campaign(redis, redis_url, tmp_path / "log", rounds=ROUNDS, seed=SEED)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("kind", ["schedule", "cells", "variants", "job", "samples"])
def test_what_a_job_can_make_is_made_anew_by_the_request_that_needs_it(redis, redis_url, filled, tmp_path, kind):
    known, stored = filled
    body = {"model": "toy", "nfe": 4, "grid": 16}
    with Server(redis_url, tmp_path / "log") as server, httpx2.Client(base_url=server.url, timeout=30) as http:
        job = http.post("/v1/jobs", json=body).json()
        assert (job["state"], job["schedule_id"]) == ("succeeded", known["best"].id)
        lost = {"schedule": f"ays:2:schedule:{known['best'].id}", "job": f"ays:2:job:{job['id']}", "samples": stored.by_kind["samples"][0]}
        name = lost.get(kind) or (f"ays:2:cells:{known['table']}" if kind == "cells" else "ays:2:variants:toy")
        redis.delete(name)
        redis.set(name, b"\xff")
        asked = {
            "schedule": job["schedule_url"],
            "job": f"/v1/jobs/{job['id']}",
            "samples": f"{job['schedule_url']}/samples",
        }.get(kind, "/v1/schedules?model=toy&nfe=4&grid=16")
        problem = http.get(asked)
        assert (problem.status_code, problem.headers["content-type"]) == (500, "application/problem+json")
        assert problem.json()["detail"].startswith(f"{name}")
        assert "redis-cli" in problem.json()["fix"]
        again = http.post("/v1/jobs", json=body)
        # A lost record is written anew, from what is cached; a lost result takes a job.
        expected = "succeeded" if kind in {"job", "samples"} else "queued"
        assert (again.status_code, again.json()["state"]) == (202, expected)
        if expected == "queued":
            assert redis.llen("rq:queue:ays") == 2
            served = http.get("/v1/schedules?model=toy&nfe=4&grid=16&fallback=stock").json()
            assert served["source"] == "stock"


def test_damaged_files_are_clear_errors(tmp_path):
    wrong = damaged_files(tmp_path, rounds=60, seed=SEED)
    assert not wrong, "\n".join(wrong[:20])


def test_an_archive_with_good_checksums_and_damaged_lines_is_refused_whole(redis):
    store, rng = Store(redis), random.Random(SEED)
    fill_all(redis)
    lines = opened(exported(store))
    redis.flushall()
    taken = 0
    for _ in range(150):
        at = rng.randrange(len(lines))
        damaged = mutated_json(rng, lines[at])
        raw = sealed([*lines[:at], damaged if damaged[:1] == b"{" else b"{}", *lines[at + 1 :]])
        refused = _refusal(store, mutated_bytes(rng, raw) if rng.random() < 0.2 else raw)
        assert refused is None or (refused.startswith("line ") and not results(redis)), refused
        taken += refused is None
        redis.flushall()
    # A title, a time or the version of the code may be another one.
    assert taken < 30


def _refusal(store, raw):
    try:
        imported(store, raw)
    except ArchiveError as error:
        return str(error)
    return None


def test_what_is_damaged_is_left_out_of_an_export_and_told(tmp_path):
    with EmbeddedRedis(tmp_path / "data" / "redis") as server:
        store = Store.open(server.url)
        best = fill_all(store.redis)["best"]
        whole = ays("export", "whole.jsonl", cwd=tmp_path, AYS_REDIS_URL=server.url)
        store.redis.set("ays:2:schedule:no-id", b"x")
        store.redis.set(f"ays:2:schedule:{best.id}", b"\xff")
        store.redis.hset("ays:2:variants:other", "x", "{")
        store.redis.set("ays:2:curve:curve-x", "[")
        damaged = ays("export", "damaged.jsonl", cwd=tmp_path, AYS_REDIS_URL=server.url)
        store.redis.flushall()
        taken = ays("import", "damaged.jsonl", cwd=tmp_path, AYS_REDIS_URL=server.url)
        store.close()
    assert (whole.returncode, damaged.returncode, taken.returncode) == (0, 1, 0)
    assert "4 damaged values were left out" in damaged.stderr.splitlines()[-1]
    for key in ("schedule:no-id", f"schedule:{best.id}", "variants:other [x]", "curve:curve-x"):
        assert f"left out: ays:2:{key} in Redis is damaged: received " in damaged.stderr
    assert "redis-cli HDEL ays:2:variants:other x" in damaged.stderr
    assert "Traceback" not in damaged.stderr
