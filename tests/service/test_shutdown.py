"""SIGTERM: what has begun is finished, streams say that they go on elsewhere, nothing new is taken."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from service.serving.listening import ListenError, listen
from service.serving.shutdown import stop_tasks
from tests.service.server import ROOT, Server
from tests.service.worker import body, request


class Half:
    """A request whose body has come halfway."""

    def __init__(self, url, text):
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        self._rest = text[len(text) // 2 :].encode()
        head = f"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
        self._socket.sendall(head.encode() + text[: len(text) // 2].encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def rest(self):
        """Send the other half; returns the status line and the body of the answer."""
        self._socket.sendall(self._rest)
        answer = b""
        while chunk := self._socket.recv(65536):
            answer += chunk
        head, _, content = answer.partition(b"\r\n\r\n")
        return head.splitlines()[0].decode(), json.loads(content)


def logged(server, event):
    end = time.monotonic() + 20
    while not any(record["event"].startswith(event) for record in server.records()):
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.02)


@pytest.mark.usefixtures("store")
def test_a_request_that_has_begun_is_answered(redis_url, store, tmp_path):
    with Server(redis_url, tmp_path / "log") as server:
        with Half(server.url, json.dumps(body())) as half:
            # A whole request later, the server has read the half of this one.
            assert httpx2.get(f"{server.url}/healthz").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            logged(server, "Waiting for")
            status, job = half.rest()
        assert status == "HTTP/1.1 202 Accepted"
        assert server.process.wait(20) == 0
    assert store.jobs.get(job["id"]).request == request()


def test_a_port_that_is_taken_is_told_at_once_before_anything_else_starts():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections and never answers: a client of it is in its handshake for long.
        port = silent.getsockname()[1]
        environment = os.environ | {"AYS_REDIS_URL": f"redis://127.0.0.1:{port}/0", "AYS_PORT": str(port)}
        ended = subprocess.run([sys.executable, "-m", "service"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_redis_that_never_answers_does_not_delay_the_end(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Server(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", tmp_path / "log") as server,
    ):
        status, seconds = server.stop()
    assert status == 0
    assert seconds < 8


def test_a_task_that_swallows_cancellations_is_canceled_again():
    swallowed = []

    async def stubborn():
        while len(swallowed) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(1)
        await asyncio.Event().wait()

    async def run():
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await stop_tasks([task])
        return task.cancelled()

    assert asyncio.run(run())
    assert len(swallowed) == 2


def test_all_addresses_are_those_of_both_families():
    with listen("::", 0) as taken:
        port = taken.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use. Choose another port"):
            listen("127.0.0.1", port)
