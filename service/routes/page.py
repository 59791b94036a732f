"""`GET /`: the page; `GET /docs`: Swagger UI, our own copy; and the static files they are made of."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.encoding import takes_gzip
from service.problems import ProblemError
from service.schedules.answers import IMMUTABLE, cached

router = APIRouter(include_in_schema=False)

_SERVICE = Path(__file__).parents[1]


@dataclass(frozen=True)
class File:
    """A file in memory.

    Attributes:
        body: its content.
        packed: the same, compressed.
        media_type: value of `Content-Type`.
    """

    body: bytes
    packed: bytes
    media_type: str


@dataclass(frozen=True)
class Page:
    """A page's files in memory.

    Attributes:
        version: hash of all of them; part of their paths, so that a browser keeps each for good and never mixes two versions.
        index: the document, which names them.
        files: the others, by path below the folder.
    """

    version: str
    index: File
    files: dict[str, File]


def load(folder: Path) -> Page:
    """Read a page from its folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    version = hashlib.sha256(b"\0".join(part for name in content for part in (name.encode(), content[name]))).hexdigest()[:16]
    index = content.pop("index.html").replace(b"{version}", version.encode())
    return Page(version, _file("index.html", index), {name: _file(name, body) for name, body in content.items()})


def _file(name: str, body: bytes) -> File:
    return File(body, gzip.compress(body, mtime=0), _media_type(name))


def _media_type(name: str) -> str:
    # Not what the host's tables say: a module of another type is refused by browsers.
    if name.endswith(".js"):
        return "text/javascript; charset=utf-8"
    guessed = mimetypes.guess_type(name)[0] or "text/plain"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed


_PAGE, _DOCS = load(_SERVICE / "page"), load(_SERVICE / "swagger")


@router.get("/")
async def page(request: Request) -> Response:
    """The document."""
    return _answer(request, _PAGE.index, tag=_PAGE.version, policy="no-cache")


@router.get("/page/{version}/{name:path}")
async def page_file(version: str, name: str, request: Request) -> Response:
    """One of its files."""
    return _file_of(_PAGE, version, name, request)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The documentation of the API, which draws `/openapi.json`."""
    return _answer(request, _DOCS.index, tag=_DOCS.version, policy="no-cache")


@router.get("/docs/{version}/{name:path}")
async def docs_file(version: str, name: str, request: Request) -> Response:
    """One of its files."""
    return _file_of(_DOCS, version, name, request)


def _file_of(page: Page, version: str, name: str, request: Request) -> Response:
    if version != page.version or name not in page.files:
        raise ProblemError(404, "there is no such file of the page", received=f"{version}/{name}", fix="reload the page")
    tag = f"{version}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return _answer(request, page.files[name], tag=tag, policy=IMMUTABLE)


def _answer(request: Request, file: File, *, tag: str, policy: str) -> Response:
    packed = takes_gzip(request.scope)
    headers = {"vary": "Accept-Encoding", **({"content-encoding": "gzip"} if packed else {})}
    body, mark = (file.packed, f"{tag}.gzip") if packed else (file.body, tag)
    return cached(request, body, tag=mark, policy=policy, media_type=file.media_type, headers=headers)
