"""`ays serve` and the stack under it: what starts, what restarts, what ends."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ays_client import Client, ServiceError
from service.local.stack import Stack
from tests.cli.commands import ays, running
from tests.cli.conftest import Served


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ready(url: str) -> bool:
    with Client(url, timeout=2.0) as client:
        try:
            client.check_ready()
        except ServiceError:
            return False
        return True


def test_urls_are_printed_when_ready(served: Served):
    assert served.command.out.splitlines() == [f"API       {served.url}", f"API docs  {served.url}/docs", f"Page      {served.url}/"]
    assert ready(served.url)


def test_a_second_serve_on_the_same_data_is_refused(served: Served):
    done = ays("serve", "--port", "0", cwd=served.folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert "is in use by another embedded Redis server (process " in done.stderr
    assert ready(served.url)


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ays("serve", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 3
    assert f"error: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_cleanly(tmp_path: Path, number: signal.Signals):
    with running("serve", "--port", "0", "--workers", "0", cwd=tmp_path) as command:
        command.wait_for("ready; Ctrl-C stops everything")
        redis = int((tmp_path / ".ays/redis/pid").read_text())
        url = command.out.split()[1]
        assert command.end(number) == 0
    assert not runs(redis)
    assert not ready(url)
    assert command.err.rstrip().endswith("}") or "stopping" in command.err


def test_all_mistakes_of_the_environment_are_told_before_anything_starts(tmp_path: Path):
    done = ays("serve", cwd=tmp_path, AYS_BODY_LIMIT="many", AYS_LOG_LEVEL="loud")
    assert done.returncode == 2
    assert "AYS_BODY_LIMIT: received 'many'" in done.stderr
    assert "AYS_LOG_LEVEL: received 'loud'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_misconfigured_worker_is_reported(tmp_path: Path):
    (tmp_path / "models.toml").write_text("[models.x]\nkind = 1\n")
    done = ays("serve", "--port", "0", cwd=tmp_path, AYS_MODELS=str(tmp_path / "models.toml"))
    assert done.returncode == 3
    assert 'expected kind = "factory" or kind = "diffusers"' in done.stderr
    assert "error: worker-1 cannot run with this configuration; see above" in done.stderr


def test_crashed_processes_are_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AYS_MODELS", raising=False)
    said: list[str] = []
    stack = Stack(host="127.0.0.1", port=0, workers=1, redis_url=None, data=tmp_path, log_to_files=True, say=said.append)
    try:
        stack.start()
        assert stack.wait_ready(stopping=lambda: False)
        for name in ("worker-1", "api", "redis"):
            before = stack.pids[name]
            os.kill(before, signal.SIGKILL)

            def again(name: str = name, before: int = before) -> bool:
                stack.tend()
                return stack.pids[name] != before and ready(stack.url)

            wait_until(again, f"{name} is back")
        pids = stack.pids
    finally:
        stack.stop()
    assert [line.split(" ")[0] for line in said] == ["worker-1", "api", "redis"]
    assert not any(runs(pid) for pid in pids.values())


def test_a_redis_that_does_not_come_up_is_tried_again(tmp_path: Path):
    """As with a full disk: the others live on, and it is started as soon as it can be."""
    said: list[str] = []
    stack = Stack(host="127.0.0.1", port=0, workers=0, redis_url=None, data=tmp_path, log_to_files=True, say=said.append)
    try:
        stack.start()
        assert stack.wait_ready(stopping=lambda: False)
        manifest = tmp_path / "redis/appendonlydir/appendonly.aof.manifest"
        good = manifest.read_bytes()
        manifest.write_bytes(b"no manifest")
        os.kill(stack.pids["redis"], signal.SIGKILL)

        def failed() -> bool:
            stack.tend()
            return any("ended at once" in line for line in said)

        wait_until(failed, "a failed start")
        manifest.write_bytes(good)

        def answers() -> bool:
            stack.tend()
            with Client(stack.url, timeout=2.0) as client:
                try:
                    client.models()
                except ServiceError:
                    return False
            return True

        wait_until(answers, "Redis is back")
    finally:
        stack.stop()
