"""The Lua files: each is used, compiles, and assigns to no name that is not its own."""

import re

import pytest

from ays_store.scripts import PRELUDE, lua
from tests.deploy.dockerfile import ROOT

FOLDER = ROOT / "ays_store" / "lua"
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.lua"))
_CODE = "".join(path.read_text() for path in FOLDER.parent.rglob("*.py"))
USES = [re.findall(r'"([a-z_/]+)"', arguments) for arguments in re.findall(r"Script\(\w+, ([^)]*)\)", _CODE)]

DECLARED = re.compile(r"\blocal (?:function )?([\w, ]+)|\bfor ([\w, ]+) (?:in|=)|\bfunction\b[^(\n]*\(([\w, ]*)\)")
ASSIGNED = re.compile(r"^\s*(\w+(?:, \w+)*) = ", re.MULTILINE)


def names(pattern, text):
    groups = [group for found in pattern.finditer(text) for group in found.groups() if group]
    return {name.strip() for group in groups for name in group.split(",")}


def test_every_file_is_used():
    assert {name for files in USES for name in files} | {"common", "turns", "records"} == set(NAMES)


@pytest.mark.parametrize("files", USES, ids=lambda files: files[-1])
def test_a_script_compiles_and_has_no_globals(redis, files):
    text = "".join((PRELUDE, *map(lua, files)))
    assert len(redis.script_load(text)) == 40
    assert names(ASSIGNED, text) <= names(DECLARED, text)


def test_what_assigns_to_a_global_is_found():
    text = "local a, b = 1\nfor i, c in x do\n  a, i = 2\n  d = 3\nend"
    assert names(ASSIGNED, text) - names(DECLARED, text) == {"d"}
