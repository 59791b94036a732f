"""What nobody has to be known for: bytes, seconds and connections are bounded before a request is complete."""

import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from service.serving.connection import HEAD_BYTES_MAX
from tests.service.server import Server

LIMIT = 40


@pytest.fixture(scope="module")
def bounded(redis_url, tmp_path_factory):
    settings = {"AYS_CONNECTION_LIMIT": LIMIT, "AYS_REQUEST_SECONDS": 1.0}
    with Server(redis_url, tmp_path_factory.mktemp("bounded") / "log", **settings) as running:
        yield running


def opened(server):
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def answer(connection):
    """All that comes before the server closes the connection."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def resident(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def test_header_fields_without_end_take_no_memory(bounded):
    before = resident(bounded)
    with opened(bounded) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
        with suppress(ConnectionError):
            connection.sendall(b"x-padding: aaaaaaaa\r\n" * (64 * 2**20 // 21))
            pytest.fail("64 MiB of header fields were taken")
    assert resident(bounded) - before < 8 * 2**20


def test_one_field_without_end_is_refused(bounded):
    with opened(bounded) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"a" * HEAD_BYTES_MAX)
        assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_a_whole_head_that_is_too_large_is_a_problem(bounded):
    got = httpx2.get(f"{bounded.url}/healthz", headers={"x-long": "a" * HEAD_BYTES_MAX})
    assert got.status_code == 431
    assert got.json()["expected"] == f"at most {HEAD_BYTES_MAX} bytes of request line and header fields"
    assert httpx2.get(f"{bounded.url}/healthz", headers={"x-long": "a" * (HEAD_BYTES_MAX - 1024)}).status_code == 200


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nhost: loc", id="half a head"),
        pytest.param(b"\r\n", id="no request"),
    ],
)
def test_an_incomplete_request_is_ended(bounded, half):
    with opened(bounded) as connection:
        connection.sendall(half)
        assert b"HTTP/1.1 408 " in answer(connection)


def test_an_empty_line_does_not_keep_a_connection_open(bounded):
    with opened(bounded) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")
        assert b"HTTP/1.1 408 " in answer(connection)


def test_an_incomplete_body_is_ended(bounded):
    with opened(bounded) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
        assert answer(connection) == b""


def test_connections_are_bounded_and_come_free_again(bounded):
    with ExitStack() as stack:
        held = [stack.enter_context(opened(bounded)) for _ in range(LIMIT + 5)]
        turned_away = [connection for connection in held[LIMIT:] if answer(connection).startswith(b"HTTP/1.1 503 ")]
        assert len(turned_away) == 5
        for connection in held[:LIMIT]:
            assert answer(connection).startswith(b"HTTP/1.1 408 ")
    assert httpx2.get(f"{bounded.url}/healthz").status_code == 200
