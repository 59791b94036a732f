"""The models file: TOML in which an operator adds models, path in `AYS_MODELS`.

    [models.my-model]
    kind = "factory"                          # a function that returns a denoiser
    factory = "my_package.my_module:my_function"
    title = "optional, one line"
    [models.my-model.arguments]               # optional keyword arguments of the function
    width = 64

    [models.my-pipeline]
    kind = "diffusers"                        # a diffusers pipeline; a relative path starts at this file's folder
    path = "pipelines/my-pipeline"

docs/models.md is the reference of all keys. Only the operator writes the file, so it may name code and paths; clients only ever name
its entries. A key it does not know is an error: a misspelt option must not be ignored.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.models.diffusers_entry import DiffusersEntry, read_diffusers_entry
from worker.models.errors import ModelError
from worker.models.toml_table import Table

MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Ids that a client may name, the same pattern as the wire contract's."""

CURVES = "curve-"
"""Beginning of the ids of loss curves, which no model may have; the same as the wire contract's."""

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
        steps_distilled: whether the network is distilled to few steps, and so has no schedule to look for.
    """

    id: str
    title: str
    factory: str
    folder: Path
    published: str | None = None
    steps_distilled: bool = False
    arguments: Mapping[str, object] = field(default_factory=dict)


Entry = FactoryEntry | DiffusersEntry


def read_models_file(path: Path) -> dict[str, Entry]:
    """Read and check a models file.

    Args:
        path: the TOML file.

    Returns:
        Its entries by id, in the order of the file.

    Raises:
        ModelError: the file is missing, is not TOML, or holds anything that docs/models.md does not describe.
    """
    where = f"models file {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fix = "correct the file or the path in AYS_MODELS"
        raise ModelError.of(where, received=str(error), expected="a readable TOML file", fix=fix) from error
    root = Table(where, document, path.resolve().parent)
    root.only({"models"})
    models = root.table("models")
    return {name: _entry(name, models.table(name, path=f"models.{name}")) for name in models.keys}


def _entry(name: str, table: Table) -> Entry:
    table = table.named(f"model {name!r} of the models file")
    if not MODEL_ID.fullmatch(name) or name.startswith(CURVES):
        expected = f"an id that matches {MODEL_ID.pattern} and does not begin with {CURVES}"
        raise ModelError.of(table.where, received=f"the id {name!r}", expected=expected, fix="rename the table [models.<id>]")
    title = table.text("title", name)
    match table.get("kind"):
        case "factory":
            return _factory(name, title, table)
        case "diffusers":
            return read_diffusers_entry(name, title, table)
        case kind:
            expected = 'kind = "factory" or kind = "diffusers"'
            raise ModelError.of(table.where, received=f"kind = {kind!r}", expected=expected, fix="set kind to one of the two")


def _factory(name: str, title: str, table: Table) -> FactoryEntry:
    table.only({"kind", "title", "factory", "arguments", "published", "steps_distilled"})
    factory = table.text("factory")
    if not _FACTORY.fullmatch(factory):
        fix = "name a function by its module and a colon"
        raise ModelError.of(table.where, received=f"factory = {factory!r}", expected='"package.module:function"', fix=fix)
    return FactoryEntry(
        id=name,
        title=title,
        factory=factory,
        folder=table.folder,
        published=table.optional_text("published"),
        steps_distilled=table.distilled(),
        arguments=table.table("arguments").content,
    )
