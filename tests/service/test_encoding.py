"""Who gets gzip, and how its bytes are told from the plain ones."""

import gzip
import socket
from urllib.parse import urlsplit

import pytest

from ays_client.contract import identity
from service.encoding import MINIMUM_SIZE, accepts_gzip
from tests.service.worker import profile as made_profile
from tests.service.worker import request, schedule, work
from tests.store.addresses import addressed


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        (["gzip"], True),
        (["GZip;q=0.5, br"], True),
        (["x-gzip"], True),
        (["*"], True),
        (["br, *;q=0.1"], True),
        (["br", "gzip"], True),
        (["gzip", "br"], True),
        ([], False),
        ([""], False),
        (["gzip;q=0"], False),
        (["gzip; q=0.000, *"], False),
        (["*;q=0"], False),
        (["identity"], False),
        (["gzipped"], False),
        (["gzip;q=nonsense"], False),
    ],
)
def test_what_a_client_takes(values, accepted):
    assert accepts_gzip(tuple(value.encode() for value in values)) is accepted


def answer(server, path, *lines):
    """Header fields and body, with the header lines of the request as they are given."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        head = "".join(f"{line}\r\n" for line in ("host: localhost", "connection: close", *lines))
        connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    first, _, body = received.partition(b"\r\n\r\n")
    status, *fields = first.decode().split("\r\n")
    return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body


@pytest.mark.parametrize("lines", [("accept-encoding: gzip", "accept-encoding: br"), ("accept-encoding: br", "accept-encoding: gzip")])
def test_bytes_are_what_the_client_takes_whoever_asked_before(server, store, lines):
    large = addressed(schedule(effort="standard", validated=True), prediction_type="long" * MINIMUM_SIZE)
    store.jobs.submit(request())
    token = work(store, request())
    profile = made_profile(request().variant)
    store.results.commit(identity(request()), token, profile=profile, schedules=[large], requested_schedule_id=large.id)
    path = "/v1/schedules?model=toy&nfe=8"
    plain = answer(server, path)
    packed = answer(server, path, *lines)
    refused = answer(server, path, "accept-encoding: gzip;q=0")
    assert "content-encoding" not in plain[1] | refused[1]
    assert packed[1]["content-encoding"] == "gzip"
    assert gzip.decompress(packed[2]) == plain[2] == refused[2]
    assert plain[1]["vary"] == packed[1]["vary"] == "Accept-Encoding"
    assert plain[1]["etag"] == refused[1]["etag"] != packed[1]["etag"]
    for got, own in ((plain, ()), (packed, lines)):
        assert answer(server, path, f"if-none-match: {got[1]['etag']}", *own)[0] == 304
    assert answer(server, path, f"if-none-match: {plain[1]['etag']}", *lines)[0] == 200
