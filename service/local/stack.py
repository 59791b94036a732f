"""The whole service on one machine: a Redis server, the API and some workers, started, watched and ended together."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from ays_client import Client, ServiceError
from ays_process.commands import module_command
from ays_process.environment import BAD_CONFIGURATION, with_redis
from ays_process.pauses import Pauses
from service.local.child import Child
from service.local.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from service.serving.listening import ListenError, listen

READY_SECONDS = 180.0
"""Longest time from the start to readiness; importing torch from a cold disk takes most of it."""

_STOP_SECONDS = 25.0
"""Longer than a worker takes to hand its job back."""

_GIVE_UP_CRASHES = 3
_POLL_SECONDS = 0.3


class StackError(RuntimeError):
    """The stack cannot run; the message says why and what to do."""


class Stack:
    """Redis, the API and workers, as processes of ours.

    Args:
        host: address that the API listens on.
        port: port that the API listens on; 0: any free one.
        workers: number of workers, each with one job at a time.
        redis_url: a Redis that runs already; None: one of our own is started.
        data: folder of the embedded Redis and of the logs.
        log_to_files: whether the output of the API and the workers goes to files under `data` instead of standard error.
        say: told what happens, one line each.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        workers: int,
        redis_url: str | None,
        data: Path,
        log_to_files: bool,
        say: Callable[[str], None],
    ) -> None:
        self._host, self._port, self._workers = host, port, workers
        self._redis_url, self._data, self._say = redis_url, data, say
        self._logs = data / "logs" if log_to_files else None
        self._redis: EmbeddedRedis | None = None
        self._redis_started = self._redis_due = 0.0
        self._pauses = Pauses()
        self._children: list[Child] = []

    @property
    def url(self) -> str:
        """Address of the API."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", "::"} else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        redis = {"redis": self._redis.pid} if self._redis else {}
        return redis | {child.name: child.pid for child in self._children}

    def start(self) -> None:
        """Start everything; `wait_ready` waits until it answers.

        Raises:
            StackError: the port is taken.
            EmbeddedRedisError: the embedded Redis cannot run.
        """
        self._port = free_port(self._host, self._port)
        url = self._redis_url
        if url is None:
            self._redis = EmbeddedRedis(self._data / "redis")
            url = self._redis.start()
            self._redis_started = time.monotonic()
        environment = with_redis(os.environ, url) | {"AYS_HOST": self._host, "AYS_PORT": str(self._port)}
        names = ["api", *(f"worker-{number}" for number in range(1, self._workers + 1))]
        for name in names:
            module = "service" if name == "api" else "worker"
            log = self._logs / f"{name}.log" if self._logs else None
            self._children.append(Child(name, module_command(module), environment=environment, log=log))
        for child in self._children:
            child.start()

    def wait_ready(self, *, stopping: Callable[[], bool]) -> bool:
        """Wait until the API has Redis and, where we start workers, a live one.

        Args:
            stopping: asked now and then whether to give up waiting.

        Returns:
            Whether it is ready; False when `stopping` said so first.

        Raises:
            StackError: a process keeps crashing, or it takes too long.
        """
        deadline = time.monotonic() + READY_SECONDS
        with Client(self.url, timeout=2.0) as client:
            while not stopping():
                try:
                    client.check_ready()
                except ServiceError as error:
                    # Without workers of ours readiness is not ours to promise; answering from Redis is.
                    if not self._workers and error.problem.received == {"missing": "worker"}:
                        return True
                    self._check_hope(deadline, error)
                    self.tend()
                else:
                    return True
                time.sleep(_POLL_SECONDS)
        return False

    def tend(self) -> None:
        """Start again what has crashed; call it a few times a second."""
        if self._redis is not None and not self._redis.alive:
            self._tend_redis(self._redis)
        for child in self._children:
            event = child.tend()
            if event:
                self._say(event)

    def _tend_redis(self, redis: EmbeddedRedis) -> None:
        now = time.monotonic()
        if self._redis_due == 0.0:
            pause = self._pauses.after(now - self._redis_started)
            self._redis_due = now + pause
            self._say(f"redis ended; it is started again in {pause:g} s; its log is {redis.data / 'redis.log'}")
        elif now >= self._redis_due:
            self._redis_due, self._redis_started = 0.0, now
            try:
                redis.start()
            except EmbeddedRedisError as error:
                # A full disk, for example: the API serves what it has in memory meanwhile.
                self._say(str(error))

    def stop(self) -> None:
        """End everything: workers and the API first, then Redis, which they still write to."""
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            child.join(deadline)
        self._children.clear()
        if self._redis is not None:
            self._redis.stop()
            self._redis = None

    def _check_hope(self, deadline: float, error: ServiceError) -> None:
        for child in self._children:
            misconfigured = child.status == BAD_CONFIGURATION
            if misconfigured or child.crashes >= _GIVE_UP_CRASHES:
                what = "cannot run with this configuration" if misconfigured else f"ended {child.crashes} times while starting"
                words = f":\n{child.last_words()}\nlog: {child.log}" if child.log else "; see above"
                msg = f"{child.name} {what}{words}"
                raise StackError(msg)
        if time.monotonic() > deadline:
            msg = f"not ready within {READY_SECONDS:.0f} s: {error}"
            raise StackError(msg)


def free_port(host: str, port: int) -> int:
    """Check that a port is free, or find one.

    Args:
        host: address to listen on.
        port: the port, or 0 for any.

    Raises:
        StackError: the port is taken or the address is not ours.
    """
    try:
        with listen(host, port) as taken:
            return int(taken.getsockname()[1])
    except ListenError as error:
        raise StackError(str(error)) from error
