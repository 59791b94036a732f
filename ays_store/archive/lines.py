"""The lines of an archive: what each holds, and how it is written and read.

Bodies (profiles, schedules, samples, curves) are strings that hold the stored JSON: they come out byte for byte as they went in.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ays_client.contract import CONTRACT_VERSION, Method, ModelId, Variant

FORMAT = "ays-archive"
ARCHIVE_VERSION = 1
"""Version of these lines."""

LINE_MAX = 64 << 20
"""Longest line in bytes; the largest profile (G = 256) has some 10 MB."""

_HEAD = b'{"sha256":"'
_HASH = 64


class ArchiveError(ValueError):
    """A file is no archive that can be imported: where, what was received, what is expected."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Header(_Line):
    """The first line."""

    kind: Literal["header"] = "header"
    format: Literal["ays-archive"] = "ays-archive"
    version: int = ARCHIVE_VERSION
    contract: int = CONTRACT_VERSION
    code_version: str


class Table(_Line):
    """Begins a table; all lines to the next `End` belong to it."""

    kind: Literal["table"] = "table"
    id: str
    model: ModelId
    method: Method
    variant: Variant
    fingerprint: str
    created_at: float


class ProfileLine(_Line):
    """The profile of the table."""

    kind: Literal["profile"] = "profile"
    body: str


class ScheduleLine(_Line):
    """A schedule: a cell of the table, or, outside of tables, one that only its own id names."""

    kind: Literal["schedule"] = "schedule"
    body: str


class SamplesLine(_Line):
    """Samples drawn with the schedule of the line before."""

    kind: Literal["samples"] = "samples"
    body: str


class CurveLine(_Line):
    """A loss curve."""

    kind: Literal["curve"] = "curve"
    body: str


class End(_Line):
    """Ends a table."""

    kind: Literal["end"] = "end"
    lines: int = Field(description="lines of the table, its first and this one included")


class Footer(_Line):
    """The last line."""

    kind: Literal["footer"] = "footer"
    lines: int = Field(description="lines before this one")
    digest: str = Field(description="SHA-256 of all bytes before this line")


Line = Header | Table | ProfileLine | ScheduleLine | SamplesLine | CurveLine | End | Footer
_LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


class Writer:
    """Writes lines to a file.

    Args:
        file: open for writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self.lines = file, hashlib.sha256(), 0

    def write(self, line: Line) -> None:
        """Append a line."""
        rest = line.model_dump_json().encode()[1:]
        raw = _HEAD + hashlib.sha256(rest).hexdigest().encode() + b'",' + rest + b"\n"
        self._hash.update(raw)
        self._file.write(raw)
        self.lines += 1

    def close(self) -> None:
        """Append the footer."""
        self.write(Footer(lines=self.lines, digest=self._hash.hexdigest()))


def read(file: BinaryIO) -> Iterator[tuple[int, Line]]:
    """Read a whole archive, with the number of each line; checksums and versions are checked, the file once it has been read to its end.

    Args:
        file: open for reading, at its beginning.

    Raises:
        ArchiveError: it is no archive, or damaged.
    """
    digest, number = hashlib.sha256(), 0
    while True:
        raw, number = file.readline(LINE_MAX + 1), number + 1
        if not raw:
            fail(number, "the end of the file", "a last line with the checksum of the file: it is cut off; copy or export it again")
        line = _parse(raw, number)
        if number == 1:
            _check_header(line)
        if isinstance(line, Footer):
            if (line.lines, line.digest) != (number - 1, digest.hexdigest()):
                fail(number, "a checksum of the file that is not its own", "whole lines in their order: copy or export it again")
            if file.read(1):
                fail(number + 1, "more after the last line", "one archive in a file")
            return
        digest.update(raw)
        yield number, line


def _parse(raw: bytes, number: int) -> Line:
    if len(raw) > LINE_MAX:
        fail(number, f"more than {LINE_MAX} bytes", "a line of an archive")
    start = len(_HEAD) + _HASH
    head, claimed, rest = raw[: len(_HEAD)], raw[len(_HEAD) : start], raw[start:]
    if head != _HEAD or not rest.startswith(b'",'):
        fail(number, repr(raw[:40])[1:], "a line that begins with its checksum, as `ays export` writes them")
    if not raw.endswith(b"\n"):
        fail(number, "a line without an end", "a whole file: it is cut off; copy or export it again")
    if hashlib.sha256(rest[2:-1]).hexdigest().encode() != claimed:
        fail(number, "a line whose checksum is not its own", "an undamaged file: copy or export it again")
    found = parse_json(b"{" + rest[2:-1], number)
    if number == 1 and isinstance(found, dict) and found.get("kind") == "header":
        _check_versions(found)
    try:
        return _LINES.validate_python(found)
    except ValidationError as error:
        invalid(number, error)


def parse_json(raw: bytes | str, number: int) -> Any:
    """Read JSON of a line.

    Raises:
        ArchiveError: it is not JSON, or has a name twice in one object.
    """
    try:
        return json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        fail(number, "JSON that is nested too deeply", "an object of an archive")
    except ValueError as error:
        fail(number, f"text that is not good JSON ({str(error)[:120]})", "an object of an archive")


def fail(number: int, received: str, expected: str) -> NoReturn:
    """Refuse an archive.

    Raises:
        ArchiveError: always.
    """
    msg = f"line {number}: received {received}; expected {expected}"
    raise ArchiveError(msg)


def invalid(number: int, error: ValidationError) -> NoReturn:
    """Refuse an archive for the first mistake in a line or a body.

    Raises:
        ArchiveError: always.
    """
    fail(number, *_first(error))


def _first(error: ValidationError) -> tuple[str, str]:
    mistake = error.errors(include_url=False)[0]
    where = ".".join(str(part)[:40] for part in mistake["loc"]) or "the line"
    return f"{where} = {_short(mistake['input'])}", str(mistake["msg"])[:200]


def _short(value: object) -> str:
    try:
        return repr(value)[:80]
    except RecursionError:
        return f"a nested {type(value).__name__}"


def _check_versions(found: dict[str, Any]) -> None:
    # Before anything else: a newer header may have fields that this program does not know.
    for name, known in (("version", ARCHIVE_VERSION), ("contract", CONTRACT_VERSION)):
        received = found.get(name)
        if found.get("format") == FORMAT and received != known:
            older = isinstance(received, int) and received < known
            fix = (
                "it was computed under rules that no longer hold: ask for its schedules again" if older else "use a newer version of `ays`"
            )
            fail(1, f"an archive of {name} {repr(received)[:20]}", f"{name} {known}; {fix}")


def _check_header(line: Line) -> None:
    if not isinstance(line, Header):
        fail(1, f"a line of kind {line.kind!r}", "the header of an archive")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "an object has a name twice"
        raise ValueError(msg)
    return found


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is no number of JSON"
    raise ValueError(msg)
