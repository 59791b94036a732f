"""`GET /` and the files of the page, as a browser gets them."""

import hashlib
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "service" / "page"

VENDORED = {
    # uplot 1.6.32 of npm, dist/
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot-LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


@pytest.fixture
def names(http):
    """Paths of the page's files, from the document."""
    return re.findall(r'(?:src|href)="(/page/[^"]+)"', http.get("/").text)


def test_the_document_may_run_its_own_files_and_nothing_else(http):
    answer = http.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", answer.text), "nothing is inline"
    assert "https:" not in answer.text


def test_files_are_kept_for_good_under_the_version_of_their_content(http, names):
    assert len(names) == 5
    for name in names:
        answer = http.get(name)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert http.get(name, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert http.get("/").headers["cache-control"] == "no-cache"
    assert http.get("/", headers={"if-none-match": http.get("/").headers["etag"]}).status_code == 304
    other = re.sub("/page/[0-9a-f]+/", "/page/0123456789abcdef/", names[0])
    assert (http.get(other).status_code, http.get(other).headers["content-type"]) == (404, "application/problem+json")


def test_every_module_that_a_module_imports_is_there(http, names):
    main = next(name for name in names if name.endswith("main.js"))
    base, seen, left = main.rpartition("/")[0], set(), ["./main.js"]
    while left:
        name = left.pop()
        answer = http.get(base + name[1:])
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        seen.add(name[2:])
        left += set(re.findall(r'from "(\./[\w.]+)"', answer.text)) - {f"./{each}" for each in seen} - set(left)
    assert seen == {path.name for path in FOLDER.glob("*.js")}, "no module is left over"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "vendor", "", "index.html"])
def test_nothing_but_the_pages_files_is_served(http, names, path):
    base = names[0].rsplit("/", 1)[0]
    assert http.get(f"{base}/{path}").status_code == 404


SWAGGER = {
    # swagger-ui-dist 5.35.0 of npm
    "swagger-ui-LICENSE.txt": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "swagger-ui-NOTICE.txt": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


def test_the_documentation_loads_nothing_from_elsewhere(http):
    answer = http.get("/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert not re.search(r"<script(?![^>]*src=)|https?:", answer.text)
    for name in re.findall(r'(?:src|href)="(/docs/[^"]+)"', answer.text):
        assert (http.get(name).status_code, "immutable" in http.get(name).headers["cache-control"]) == (200, True)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER.parent / "swagger" / "vendor").iterdir()}
    assert found == SWAGGER


def test_every_answer_has_the_headers_of_a_careful_server(http, names):
    for answer in (
        http.get("/"),
        http.get("/docs"),
        http.get(names[0]),
        http.get("/v1/models"),
        http.get("/nowhere"),
        http.put("/v1/jobs"),
    ):
        for name, value in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ]:
            assert answer.headers[name] == value
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "camera=()" in answer.headers["permissions-policy"]
        assert "cache-control" in answer.headers
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers
    behind_tls = http.get("/healthz", headers={"x-forwarded-proto": "https"})
    assert behind_tls.headers["strict-transport-security"] == "max-age=31536000"


def test_what_is_vendored_is_what_was_published():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "vendor").iterdir()}
    assert found == VENDORED


def test_large_answers_are_compressed_and_streams_are_not(http, names):
    script = next(name for name in names if name.endswith("uPlot.iife.min.js"))
    assert http.get(script).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in http.get(script, headers={"accept-encoding": "identity"}).headers
    assert "content-encoding" not in http.get("/healthz").headers
