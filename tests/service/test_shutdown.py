"""SIGTERM: what has begun is finished, streams say that they go on elsewhere, nothing new is taken."""

import json
import signal
import socket
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.service.server import Server
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
