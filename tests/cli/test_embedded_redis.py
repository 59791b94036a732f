"""The embedded Redis: real servers, started, killed, started again."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from service.local.embedded_redis import SOCKET_PATH_MAX, EmbeddedRedis, EmbeddedRedisError, running_url, server_binary


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def get(url: str, key: str) -> bytes | None:
    with Redis.from_url(url) as client:
        value = client.get(key)
    assert value is None or isinstance(value, bytes)
    return value


def put(url: str, key: str, value: str) -> None:
    with Redis.from_url(url) as client:
        client.set(key, value)


def test_listens_on_a_private_socket_only_and_keeps_everything(tmp_path: Path):
    with EmbeddedRedis(tmp_path / "data") as server:
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        with Redis.from_url(server.url) as client:
            settings = client.config_get("port", "appendonly", "appendfsync", "maxmemory-policy")
        assert settings == {"port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        pid = server.pid
        assert runs(pid)
    assert not runs(pid)
    assert not server.alive


def test_data_survives_a_stop(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as server:
        put(server.url, "key", "value")
    with EmbeddedRedis(tmp_path) as server:
        assert get(server.url, "key") == b"value"


def test_data_survives_a_killed_server_and_its_stale_files_do_not_block(tmp_path: Path):
    crashed = EmbeddedRedis(tmp_path)
    crashed.start()
    put(crashed.url, "key", "value")
    os.kill(crashed.pid, signal.SIGKILL)
    wait_until(lambda: not crashed.alive, "the server has ended")
    assert (tmp_path / "pid").exists()
    assert (tmp_path / "redis.sock").exists()
    with EmbeddedRedis(tmp_path) as server:
        assert get(server.url, "key") == b"value"


def test_a_crashed_server_is_started_again_at_the_same_address(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as server:
        url = server.url
        put(url, "key", "value")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive, "the server has ended")
        assert server.start() == url
        assert get(url, "key") == b"value"


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as first:
        put(first.url, "key", "value")
        with pytest.raises(EmbeddedRedisError, match=rf"in use by another embedded Redis server \(process {first.pid}\)\. Stop"):
            EmbeddedRedis(tmp_path).start()
        assert get(first.url, "key") == b"value"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can tie a process to its parent")
def test_the_server_ends_with_a_killed_owner(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from service.local.embedded_redis import EmbeddedRedis\n"
        f"server = EmbeddedRedis(Path({str(tmp_path)!r})); print(server.start(), server.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        url, pid = owner.stdout.readline().split()
        put(url, "key", "value")
    finally:
        owner.kill()
        owner.communicate()
    wait_until(lambda: not runs(int(pid)), "the server has ended")
    with EmbeddedRedis(tmp_path) as server:
        assert get(server.url, "key") == b"value"


def test_a_long_path_gets_a_short_socket(tmp_path: Path):
    folder = tmp_path / ("deep" * 20) / ("er" * 20)
    with EmbeddedRedis(folder) as server:
        socket = Path(server.url.removeprefix("unix://"))
        assert len(str(socket)) <= SOCKET_PATH_MAX
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        put(server.url, "key", "value")
    assert not socket.parent.exists()
    assert (folder / "appendonlydir").is_dir()


def test_unusual_characters_in_the_path(tmp_path: Path):
    with EmbeddedRedis(tmp_path / 'a b%20"c') as server:
        put(server.url, "key", "value")
        assert get(server.url, "key") == b"value"


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a script on PATH, which has nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put_script(name: str, text: str) -> None:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    return put_script


def test_an_installed_server_is_preferred(tmp_path: Path, on_path: Callable[[str, str], None]):
    bundled = server_binary()
    on_path("valkey-server", f'#!/bin/sh\necho used > {tmp_path}/used\nexec {bundled} "$@"\n')
    with EmbeddedRedis(tmp_path / "data") as server:
        put(server.url, "key", "value")
    assert (tmp_path / "used").exists()


def test_a_server_that_cannot_start_says_so(tmp_path: Path, on_path: Callable[[str, str], None]):
    on_path("redis-server", "#!/bin/sh\nexit 1\n")
    with pytest.raises(EmbeddedRedisError, match="the embedded Redis server ended at once; its log is"):
        EmbeddedRedis(tmp_path / "data").start()


def test_the_servers_own_words_are_in_the_message(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as server:
        put(server.url, "key", "value")
    for file in (tmp_path / "appendonlydir").glob("*.incr.aof"):
        file.write_bytes(b"*3\r\nnonsense")
    with pytest.raises(EmbeddedRedisError, match="Bad file format"):
        EmbeddedRedis(tmp_path).start()


def test_a_running_server_is_found_however_deep_its_folder_and_a_killed_one_is_not(tmp_path: Path):
    for data in (tmp_path / "near", tmp_path / ("deep" * 20) / ("er" * 20)):
        assert running_url(data) is None
        with EmbeddedRedis(data / "redis") as server:
            assert running_url(data) == server.url
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda server=server: not server.alive, "end of the server")
            assert Path(server.url.removeprefix("unix://")).exists(), "its socket is left"
            assert running_url(data) is None


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedRedisError, match=r"cannot be used: Not a directory. Choose one that this user can write to with AYS_DATA"):
        EmbeddedRedis(tmp_path / "file" / "redis").start()
