"""Every bad input gets a problem that says what was received, what is expected, and how to fix it."""

import http.client
import json
import re
import socket
from urllib.parse import urlsplit

import pytest

from tests.service.worker import body

BAD_BODIES = {
    "unknown field": (body(callback="x"), 422, "callback", "leave callback out"),
    "field of other tools": (body(sampler="ddim"), 422, "sampler", "rename sampler to solver"),
    "misspelt field": (body(sigma_mim=1), 422, "sigma_mim", "rename sigma_mim to sigma_min"),
    "nfe 0": (body(nfe=0), 422, "greater than or equal to 2", "change nfe"),
    "nfe 10**9": (body(nfe=10**9), 422, "less than or equal to 64", "change nfe"),
    "nfe text": (body(nfe="many"), 422, "integer", "change nfe"),
    "nfe missing": ({"model": "toy"}, 422, "nfe", "add nfe"),
    "solver": (body(solver="dpm"), 422, "'dpmpp_2m'", "change solver"),
    "heun with an even nfe": (body(solver="heun"), 422, "2 steps - 1", "ask for 7 or 9"),
    "empty range": (body(sigma_min=2, sigma_max=1), 422, "not below", "swap them"),
    "negative sigma": (body(sigma_min=-1), 422, "greater than 0", "change sigma_min"),
    "detail": (body(detail="best"), 422, "auto", "change detail"),
    "model as a path": (body(model="../../etc/passwd"), 422, "pattern", "change model"),
    "model with an import": (body(model="os:system"), 422, "pattern", "change model"),
    "a list": ([1, 2], 422, "object", "change body"),
}

BAD_TEXTS = {
    "malformed": ('{"model": "toy", "nfe": 8', 400, "character", "braces"),
    "nan": ('{"model": "toy", "nfe": 8, "sigma_min": NaN}', 422, "finite", "change sigma_min"),
    "infinity": ('{"model": "toy", "nfe": 8, "sigma_max": Infinity}', 422, "finite", "change sigma_max"),
    "overflow": ('{"model": "toy", "nfe": 8, "sigma_max": 1e999}', 422, "finite", "change sigma_max"),
    "nfe nan": ('{"model": "toy", "nfe": NaN}', 422, "finite", "change nfe"),
    "huge integer": ('{"model": "toy", "nfe": ' + "9" * 5000 + "}", 400, "JSON", "numbers"),
    "deep": ("[" * 30000, 400, "JSON", ""),
    "not utf-8": (b'{"model": "\xff"}', 400, "UTF-8", ""),
    "surrogate": ('{"model": "\\ud800", "nfe": 8}', 422, "model", "change model"),
    "empty": ("", 422, "body", "send a JSON object"),
}

BAD_QUERIES = {
    "/v1/schedules?nfe=8": "add model",
    "/v1/schedules?model=toy&nfe=1e9": "change nfe",
    "/v1/schedules?model=toy&nfe=8&format=pdf": "change format",
    "/v1/schedules?model=toy&nfe=8&fallback=any": "change fallback",
    "/v1/schedules?model=toy&nfe=8&sigma_min=nan": "change sigma_min",
    "/v1/schedules?model=toy&nfe=8&sigma_min=2&sigma_max=1": "swap them",
    "/v1/schedules?model=toy&nfe=8&steps=8": "leave steps out",
    "/v1/schedules?model=toy&nfe=8&effort=max": "leave effort out",
    "/v1/jobs?state=done": "change state",
    "/v1/jobs?limit=0": "change limit",
    "/v1/jobs?limit=1000": "change limit",
    "/v1/jobs?cursor=x": "leave cursor out",
    "/v1/jobs?page=2": "leave page out",
}


def check(answer, status, said, fix):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert problem["status"] == status
    words = " ".join(str(problem.get(part, "")) for part in ("detail", "received", "expected"))
    assert said in words, problem
    assert fix in problem["fix"], problem
    assert problem["instance"] == answer.request.url.path
    return problem


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.usefixtures("store")
def test_bad_bodies(http, queue, name):
    sent, status, said, fix = BAD_BODIES[name]
    problem = check(http.post("/v1/jobs", json=sent), status, said, fix)
    assert problem["received"] is not None
    assert problem["expected"]
    assert len(queue) == 0


@pytest.mark.parametrize("name", BAD_TEXTS)
@pytest.mark.usefixtures("store")
def test_bad_texts(http, queue, name):
    sent, status, said, fix = BAD_TEXTS[name]
    check(http.post("/v1/jobs", content=sent, headers={"content-type": "application/json"}), status, said, fix)
    assert len(queue) == 0


@pytest.mark.parametrize("path", BAD_QUERIES)
@pytest.mark.usefixtures("store")
def test_bad_queries(http, path):
    check(http.get(path), 422, "", BAD_QUERIES[path])


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
@pytest.mark.usefixtures("store")
def test_a_body_that_is_not_declared_as_json(http, media_type):
    headers = {} if media_type is None else {"content-type": media_type}
    problem = check(http.post("/v1/jobs", content=json.dumps(body()), headers=headers), 415, "application/json", "content-type")
    assert problem["received"] == (media_type or "no content-type")


@pytest.mark.usefixtures("store")
def test_a_body_too_large_by_its_declared_length(http):
    problem = check(http.post("/v1/jobs", json=body(model="x" * 70_000)), 413, "65536", "only")
    assert problem["expected"] == "at most 65536 bytes"


@pytest.mark.usefixtures("store")
def test_a_body_too_large_in_chunks(http):
    chunks = (b" " * 1000 for _ in range(100))
    check(http.post("/v1/jobs", content=chunks, headers={"content-type": "application/json"}), 413, "65536", "only")


def test_no_route_that_takes_a_body_takes_one_without_end(http, server):
    paths = http.get("/openapi.json").json()["paths"]
    writing = [(verb, path) for path, verbs in paths.items() for verb in verbs if verb in {"post", "put", "patch", "delete"}]
    assert ("post", "/v1/jobs") in writing
    for verb, path in writing:
        assert "413" in paths[path][verb]["responses"], (verb, path)
        target = re.sub(r"{\w+}", "0123", path)
        for kind in ("application/json", "application/octet-stream"):
            for content in (b" " * 65_537, (b" " * 1000 for _ in range(66))):
                check(http.request(verb.upper(), target, content=content, headers={"content-type": kind}), 413, "65536", "only")
        assert _endless(server, verb.upper(), target) == 413
    assert http.get("/healthz").status_code == 200


def _endless(server, verb, path):
    """Status of the answer to a body in chunks that would never end, while it is still being sent."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"{verb} {path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(66):
            connection.sendall(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        return int(connection.recv(4096).split()[1])


def test_a_body_that_only_declares_its_size_is_refused_before_it_is_sent(server):
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.putrequest("POST", "/v1/jobs")
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("content-type")) == (413, "application/problem+json")
    connection.close()


@pytest.mark.usefixtures("store")
def test_a_body_at_the_limit_is_read(http):
    text = json.dumps(body()).ljust(64 * 1024)
    assert http.post("/v1/jobs", content=text, headers={"content-type": "application/json"}).status_code == 202


@pytest.mark.parametrize("path", ["/v1", "/v2/jobs", "/v1/jobs/", "/favicon.ico", "/v1/jobs/%00", "/v1/schedules/..%2f"])
@pytest.mark.usefixtures("store")
def test_unknown_paths(http, path):
    assert http.get(path).status_code == 404
    assert http.get(path).headers["content-type"] == "application/problem+json"


@pytest.mark.usefixtures("store")
def test_unknown_methods(http):
    answer = http.delete("/v1/jobs")
    problem = check(answer, 405, "DELETE", "/docs")
    assert problem["received"] == "DELETE"
    assert answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/jobs/0123", "/v1/jobs/0123/events", "/v1/schedules/0123", "/v1/profiles/0123", "/v1/models/nope"])
@pytest.mark.usefixtures("store")
def test_things_that_are_not_there(http, path):
    problem = check(http.get(path), 404, "", "")
    assert problem["received"] in {"0123", "nope"}
    assert problem["expected"]
    assert problem["fix"]


@pytest.mark.usefixtures("store")
def test_every_error_is_declared(http):
    paths = http.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert {"400", "404", "413", "415", "422", "503"} <= set(paths["/v1/jobs"]["post"]["responses"])
