"""The real processes of the campaign, each with a proxy of its own between it and Redis, and somebody who starts them again."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from redis.connection import parse_url

from ays_client import Client, ServiceError
from ays_process.commands import module_command
from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from service.local.stack import free_port
from tests.chaos.proxy import Network, Proxy

ROOT = Path(__file__).resolve().parents[2]

MODELS = '[models.slow]\nkind = "factory"\nfactory = "tests.chaos.model:slow"\n'

LEASE_SECONDS = 3.0

_AGAIN_SECONDS = 0.3
_READY_SECONDS = 120.0


class Fleet:
    """Redis, services and workers, which run a module."""

    def __init__(self, folder: Path, *, services: int, workers: int, module: str) -> None:
        self.folder, self._module = folder, module
        self.redis = EmbeddedRedis(folder / "redis")
        self.proxies: dict[str, Proxy] = {}
        self.network = Network()
        self._services = [f"service-{n}" for n in range(1, services + 1)]
        self._workers = [f"worker-{n}" for n in range(1, workers + 1)]
        self._ports = {name: free_port("127.0.0.1", 0) for name in self._services}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._again: dict[str, float] = {}
        self._disk_full = False

    @property
    def services(self) -> list[str]:
        return self._services

    @property
    def workers(self) -> list[str]:
        return self._workers

    @property
    def urls(self) -> list[str]:
        """Addresses of the services."""
        return [f"http://127.0.0.1:{port}" for port in self._ports.values()]

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "models.toml").write_text(MODELS)
        self._unix = parse_url(self.redis.start())
        for name in (*self._services, *self._workers):
            self.proxies[name] = self.network.proxy(self._unix["path"])
            self._begin(name)
        end = time.monotonic() + _READY_SECONDS
        for url in self.urls:
            while not self._ready(url):
                assert time.monotonic() < end, f"the fleet is not ready; its logs are in {self.folder}"
                time.sleep(0.1)

    def tend(self) -> None:
        """Start again what has died; called many times a second."""
        if not self.redis.alive:
            with contextlib.suppress(EmbeddedRedisError):
                self.redis.start()
            if self._disk_full:
                self.fill_disk()
        now = time.monotonic()
        for name, process in self._processes.items():
            if process.poll() is None:
                continue
            if now > self._again.setdefault(name, now + _AGAIN_SECONDS):
                del self._again[name]
                self._begin(name)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The store, without a proxy between."""
        store = Store.open(self.redis.url)
        try:
            yield store
        finally:
            store.close()

    def pid(self, name: str) -> int:
        """Process id; of a worker its supervisor's."""
        return self.redis.pid if name == "redis" else self._processes[name].pid

    def computing(self, worker: str) -> int:
        """Process id of a worker's computing process; 0 while there is none."""
        ready = [entry for entry in self.log(worker) if entry["event"] == "worker ready"]
        pid = int(ready[-1]["pid"]) if ready else 0
        return pid if pid and alive(pid) else 0

    def log(self, name: str) -> list[dict[str, object]]:
        """What a process has logged, complete lines only."""
        lines = (self.folder / f"{name}.log").read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}\n")]

    def fill_disk(self) -> None:
        """Let Redis write hardly any more to its append-only file."""
        self._disk_full = True
        sizes = [path.stat().st_size for path in (self.redis.data / "appendonlydir").glob("*.aof")]
        self._limit_files(max([*sizes, 0]) + 4096)

    def free_disk(self) -> None:
        """Let Redis write again."""
        self._disk_full = False
        self._limit_files(resource.RLIM_INFINITY)

    def stop(self) -> None:
        """End everything: workers and services first, Redis last, so that its file is complete."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.network.end()
        self.redis.stop()

    def _limit_files(self, size: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.redis.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def _begin(self, name: str) -> None:
        user = f"{self._unix.get('username', '')}:{self._unix['password']}@" if self._unix.get("password") else ""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AYS_")} | {
            "AYS_REDIS_URL": f"redis://{user}127.0.0.1:{self.proxies[name].port}/0",
            "AYS_LOG_LEVEL": "debug" if name in self._workers else "info",
            "AYS_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        if name in self._workers:
            environment |= {
                "AYS_MODELS": str(self.folder / "models.toml"),
                "AYS_WORKER_NAME": name,
                "AYS_LEASE_SECONDS": str(LEASE_SECONDS),
                "AYS_DRAIN_SECONDS": "5",
            }
        else:
            environment |= {"AYS_PORT": str(self._ports[name])}
        with (self.folder / f"{name}.log").open("ab") as log:
            command = module_command(self._module if name in self._workers else "service")
            self._processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def _ready(self, url: str) -> bool:
        self.tend()
        with Client(url, timeout=2.0, patience=0.0) as client:
            try:
                client.check_ready()
            except ServiceError:
                return False
        with self.store() as store:
            return len(store.workers.live()) >= len(self._workers)


def alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; whether there was somebody to take it."""
    if not pid:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
