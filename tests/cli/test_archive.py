"""`ays export` and `ays import`, and the two ways to restore a backup."""

import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from redis import Redis

from ays_client.contract import Model
from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from tests.cli.commands import REPOSITORY, ays, environment
from tests.service.server import Server
from tests.store.archives import fill, results


def served(url: str, log: Path) -> dict[str, tuple[bytes, str | None]]:
    """Body and tag of everything that a service serves of what is stored."""
    ids = [key.decode().rpartition(":")[2] for key in Redis.from_url(url).scan_iter("ays:2:schedule:*")]
    profiles = [key.decode().rpartition(":")[2] for key in Redis.from_url(url).scan_iter("ays:2:profile:*")]
    paths = [f"/v1/schedules/{each}" for each in ids] + [f"/v1/profiles/{each}" for each in profiles]
    paths += ["/v1/schedules?model=toy&nfe=4&grid=16", "/v1/schedules?model=toy&nfe=10&grid=16&solver=ddim&method=paper"]
    with Server(url, log) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        answers = {path: http.get(path) for path in paths}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {path: (answer.content, answer.headers.get("etag")) for path, answer in answers.items()}


def test_both_ways_to_restore_a_backup_serve_the_same_bytes(tmp_path: Path):
    with EmbeddedRedis(tmp_path / "first") as redis:
        fill(Store(Redis.from_url(redis.url)))
        before = served(redis.url, tmp_path / "log1")
        done = ays("export", "backup.jsonl", cwd=tmp_path, AYS_REDIS_URL=redis.url)
        assert (done.returncode, done.stderr) == (0, "exported 4 tables, 13 schedules, 1 curves\n")
        assert [each.name for each in tmp_path.glob("*backup*")] == ["backup.jsonl"]
    shutil.copytree(tmp_path / "first" / "appendonlydir", tmp_path / "second" / "appendonlydir")
    with EmbeddedRedis(tmp_path / "second") as redis:
        assert served(redis.url, tmp_path / "log2") == before
    done = ays("import", "backup.jsonl", "--data", "third", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "imported 4 tables: 13 new schedules, 12 cells changed, 1 curves\n")
    with EmbeddedRedis(tmp_path / "third" / "redis") as redis:
        assert served(redis.url, tmp_path / "log3") == before


def test_an_archive_goes_through_a_pipe(redis: Redis, redis_url: str):
    fill(Store(redis))
    command = [sys.executable, "-m", "service.cli"]
    variables = environment(PYTHONPATH=str(REPOSITORY), AYS_REDIS_URL=redis_url)
    raw = subprocess.run([*command, "export", "-", "--model", "toy"], env=variables, capture_output=True, check=True).stdout
    before = results(redis)
    redis.flushall()
    subprocess.run([*command, "import", "-"], env=variables, input=raw, check=True)
    assert results(redis).items() <= before.items()
    assert Store(redis).results.variants("toy")
    assert not Store(redis).results.variants("other")


def test_what_was_imported_answers_requests_without_a_job_of_rq(tmp_path: Path, redis: Redis, redis_url: str):
    best = fill(Store(redis))
    assert ays("export", "all.jsonl", cwd=tmp_path, AYS_REDIS_URL=redis_url).returncode == 0
    redis.flushall()
    assert ays("import", "all.jsonl", cwd=tmp_path, AYS_REDIS_URL=redis_url).returncode == 0
    # A worker here offers the model, and has not loaded it yet.
    Store(redis).models.publish([Model(id="toy", title="Toy")], source="here")
    requests = [
        ({"model": "toy", "nfe": best.nfe, "grid": 16}, True),
        ({"model": "toy", "nfe": 9, "solver": "ddim", "grid": 16, "effort": "fast"}, True),
        ({"model": "toy", "nfe": 9, "solver": "ddim", "grid": 16}, False),  # never validated
        ({"model": "toy", "nfe": 9, "grid": 16, "effort": "fast"}, False),  # not even guarded
        ({"model": "toy", "nfe": best.nfe}, False),  # measured on another grid
    ]
    with Server(redis_url, tmp_path / "log") as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        for body, known in requests:
            job = http.post("/v1/jobs", json=body)
            assert (job.status_code, job.json()["state"]) == (202, "succeeded" if known else "queued"), body
            found = http.get("/v1/schedules", params={name: value for name, value in body.items() if name != "effort"})
            assert found.status_code == (200 if "grid" in body else 404), body
            if known:
                assert found.content == http.get(job.json()["schedule_url"]).content
                assert redis.llen("rq:queue:ays") == 0
        assert http.get("/v1/jobs?state=queued").json()["jobs"][0]["request"]["nfe"] == best.nfe
    assert redis.llen("rq:queue:ays") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "nowhere.jsonl"], "received the file 'nowhere.jsonl': No such file or directory"),
        (["import", "empty"], "empty is not imported, nothing was written: line 1: received the end of the file"),
        (["export", "no/where"], "received the file 'no/where': No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, redis_url: str, words: list[str], message: str):
    (tmp_path / "empty").touch()
    done = ays(*words, cwd=tmp_path, AYS_REDIS_URL=redis_url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize("module", ["service", "service.cli", "worker"])
def test_newer_data_is_refused_at_the_start(tmp_path: Path, redis: Redis, redis_url: str, module: str):
    redis.set("ays:2:schema", "2")
    words = ["export", "-"] if module == "service.cli" else []
    variables = environment(PYTHONPATH=str(REPOSITORY), AYS_REDIS_URL=redis_url, AYS_PORT="0")
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "the data in Redis has the schema version '2', expected 1" in done.stderr
    assert "Traceback" not in done.stderr
