"""A backup that was made as docs/operating.md says, while the service went on, has everything."""

import re
import shlex
import shutil
import threading

import pytest

from ays_client.contract import Schedule, identity
from ays_store import Measurement, Queue, Store
from service.local.embedded_redis import EmbeddedRedis
from tests.deploy.dockerfile import ROOT
from tests.service.worker import measured, request, toy, work
from tests.store.waiting import until

SECTION = (ROOT / "docs/operating.md").read_text().partition("## Backup, restore and upgrade")[2].partition("\n## ")[0]
(BLOCK,) = re.findall(r"```sh\n(redis-cli.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def original(tmp_path):
    with EmbeddedRedis(tmp_path / "original") as redis:
        yield redis


def back_up(redis, data, target):
    """Do what the page says, line by line."""
    for line in BLOCK.splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case ["redis-cli", "INFO", section]:
                until(lambda section=section: redis.info(section)["aof_rewrite_in_progress"] == 0, what="the end of a rewrite")
            case ["redis-cli", *command]:
                redis.execute_command(*command)
            case ["cp", "-r", "/data/appendonlydir", _]:
                shutil.copytree(data / "appendonlydir", target / "appendonlydir")
            case _:
                pytest.fail(f"the page says {line!r}, which this test does not know")


def test_a_copy_of_the_append_only_file_has_everything(original, tmp_path):
    store = Store.open(original.url)
    store.models.publish([toy()], source="host")
    found = measured(store, table=range(2, 20))
    waiting, running = request(nfe=30), request(nfe=31)
    for each in (waiting, running):
        store.jobs.submit(each)
        Queue(store.redis).enqueue(identity(each))
    token = work(store, running)
    store.shards.offer(Measurement("some", "f0"), "toy", ["0-16"])
    store.shards.keep(Measurement("some", "f0"), "0-16", "[1]")
    ended = threading.Event()
    writer = threading.Thread(target=lambda: [store.redis.incr("noise") for _ in iter(ended.is_set, True)])
    writer.start()
    try:
        (tmp_path / "restored").mkdir()
        back_up(store.redis, original.data, tmp_path / "restored")
    finally:
        ended.set()
        writer.join()
    (percentage,) = store.redis.config_get("auto-aof-rewrite-percentage").values()
    assert int(percentage) == 100
    before = {each.id: each for each in store.jobs.list()[0]}
    store.close()
    with EmbeddedRedis(tmp_path / "restored") as redis:
        again = Store.open(redis.url)
        assert {each.id: each for each in again.jobs.list()[0]} == before
        assert Schedule.model_validate_json(again.results.schedule(found.id)) == found
        assert again.shards.read(Measurement("some", "f0"), ["0-16"]) == {"0-16": "[1]"}
        assert again.models.get("toy") is not None
        # The one that waits, and the one whose worker is not there any more: its lease runs out.
        assert len(Queue(again.redis)) == 2
        assert again.jobs.renew(identity(running), token) == 1
        again.close()
