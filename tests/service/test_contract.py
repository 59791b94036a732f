"""Schemathesis against the live API, with all its checks: whatever its description allows or forbids, the answer is one it describes."""

import subprocess
import sys
import threading

import pytest

from ays_store import Store
from tests.service.server import Server
from tests.service.worker import measured, toy

CONFIG = """
seed = 1

[generation]
max-examples = 8
database = "none"

# No schema can say that sigma_min is below sigma_max, or which tool takes which schedule: such a request may be refused.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 404, 406, 422]
"""


@pytest.fixture
def live(redis, redis_url, tmp_path):
    """A server with a measured model and a worker whose heart beats; event streams end at once, they would be read to their end."""
    store, ended = Store(redis), threading.Event()
    store.models.publish([toy()], source="host")
    measured(store)

    def beat():
        while not ended.wait(1.0):
            store.workers.beat("w1", {})

    store.workers.beat("w1", {})
    thread = threading.Thread(target=beat)
    thread.start()
    with Server(redis_url, tmp_path / "log", AYS_STREAM_SECONDS=0.1) as server:
        yield server
    ended.set()
    thread.join()


def test_every_answer_is_one_that_the_api_describes(live, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "--no-color"]
    command += ["run", f"{live.url}/openapi.json", "--checks", "all", "--continue-on-failure"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr
    assert "Tested: " in ended.stdout
