"""The models file: TOML in which an operator adds models, path in `AYS_MODELS`.

    [models.my-model]
    kind = "factory"                          # a function that returns a denoiser
    factory = "my_package.my_module:my_function"
    title = "optional, one line"
    [models.my-model.arguments]               # optional keyword arguments of the function
    width = 64

    [models.my-unet]
    kind = "diffusers"                        # a local diffusers folder; a relative path starts at this file's folder
    path = "pipelines/my-unet"
    published = "stable-diffusion-xl"         # optional: the published table that serves it until a job has optimized it

Only the operator writes it, so it may name code and paths; clients only ever name its entries. A key it does not know is an
error: a misspelt option must not be ignored.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.models.errors import ModelError

MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Ids that a client may name, the same pattern as the wire contract's."""

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class FactoryEntry:
    """A model made by a function of the operator's.

    Attributes:
        id: name of the registry.
        title: one line for people.
        factory: `package.module:function`.
        folder: the models file's folder; modules beside the file can be imported.
        arguments: keyword arguments of the function.
        published: name of the published table that may serve it, or None.
    """

    id: str
    title: str
    factory: str
    folder: Path
    published: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DiffusersEntry:
    """A model in a local diffusers folder.

    Attributes:
        id: name of the registry.
        title: one line for people.
        path: the folder that holds `unet/` and `scheduler/`.
        published: name of the published table that may serve it, or None.
    """

    id: str
    title: str
    path: Path
    published: str | None = None


Entry = FactoryEntry | DiffusersEntry


def read_models_file(path: Path) -> dict[str, Entry]:
    """Read and check a models file.

    Args:
        path: the TOML file.

    Returns:
        Its entries by id, in the order of the file.

    Raises:
        ModelError: the file is missing, is not TOML, or holds anything that is not described above.
    """
    where = f"models file {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fix = "correct the file or the path in AYS_MODELS"
        raise ModelError.of(where, received=str(error), expected="a readable TOML file", fix=fix) from error
    _only(where, document, {"models"})
    tables = _table(where, "models", document.get("models", {}))
    folder = path.resolve().parent
    return {name: _entry(name, _table(where, f"models.{name}", table), folder) for name, table in tables.items()}


def _entry(name: str, table: dict[str, object], folder: Path) -> Entry:
    where = f"model {name!r} of the models file"
    if not MODEL_ID.fullmatch(name):
        expected = f"an id that matches {MODEL_ID.pattern}"
        raise ModelError.of(where, received=f"the id {name!r}", expected=expected, fix="rename the table [models.<id>]")
    title = _text(where, table, "title", name)
    match table.get("kind"):
        case "factory":
            return _factory(name, title, table, folder)
        case "diffusers":
            _only(where, table, {"kind", "title", "path", "published"})
            path = folder / _no_parents(where, _text(where, table, "path"))
            return DiffusersEntry(id=name, title=title, path=path, published=_optional(where, table, "published"))
        case kind:
            expected = 'kind = "factory" or kind = "diffusers"'
            raise ModelError.of(where, received=f"kind = {kind!r}", expected=expected, fix="set kind to one of the two")


def _factory(name: str, title: str, table: dict[str, object], folder: Path) -> FactoryEntry:
    where = f"model {name!r} of the models file"
    _only(where, table, {"kind", "title", "factory", "arguments", "published"})
    factory = _text(where, table, "factory")
    if not _FACTORY.fullmatch(factory):
        fix = "name a function by its module and a colon"
        raise ModelError.of(where, received=f"factory = {factory!r}", expected='"package.module:function"', fix=fix)
    arguments = _table(where, "arguments", table.get("arguments", {}))
    published = _optional(where, table, "published")
    return FactoryEntry(id=name, title=title, factory=factory, folder=folder, published=published, arguments=arguments)


def _only(where: str, table: Mapping[str, object], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        expected = "only " + ", ".join(sorted(known))
        raise ModelError.of(where, received="the key " + ", ".join(unknown), expected=expected, fix="remove or correct the key")


def _table(where: str, key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ModelError.of(where, received=f"{key} = {value!r}", expected="a table", fix=f"write [{key}]")
    return value


def _text(where: str, table: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value:
        received = f"{key} = {value!r}" if key in table else f"no {key}"
        raise ModelError.of(where, received=received, expected="a text that is not empty", fix=f'write {key} = "..."')
    return value


def _optional(where: str, table: Mapping[str, object], key: str) -> str | None:
    return _text(where, table, key) if key in table else None


def _no_parents(where: str, path: str) -> str:
    if ".." in Path(path).parts:
        fix = "write the path without '..', or an absolute path"
        raise ModelError.of(where, received=f"path = {path!r}", expected="a path that does not climb", fix=fix)
    return path
