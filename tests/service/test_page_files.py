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


def test_what_is_vendored_is_what_was_published():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "vendor").iterdir()}
    assert found == VENDORED


def test_large_answers_are_compressed_and_streams_are_not(http, names):
    script = next(name for name in names if name.endswith("uPlot.iife.min.js"))
    assert http.get(script).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in http.get(script, headers={"accept-encoding": "identity"}).headers
    assert "content-encoding" not in http.get("/healthz").headers
