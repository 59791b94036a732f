"""Finished work as JSON lines, so that a benchmark that was stopped goes on where it was.

A record is found by its key, in which the digest of the code that made it stands: changed code makes new records, changed comments do not.
"""

import ast
import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Records:
    """One file of records; a process writes to its own, and reads none but its own."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a last line that was cut off is left out."""
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._found[record["key"]] = record["value"]

    def get(self, *key: object) -> dict[str, Any] | None:
        """The record of a key."""
        return self._found.get(json.dumps(key))

    def put(self, value: dict[str, Any], *key: object) -> dict[str, Any]:
        """Append a record, and return what a later run will read."""
        line = json.dumps({"key": json.dumps(key), "value": value})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(line + "\n")
        self._found[json.dumps(key)] = kept = json.loads(line)["value"]
        return kept


def code_digest(places: Iterable[str], root: Path = ROOT) -> str:
    """Digest of what the Python files at or below some places of the repository do; comments and docstrings do nothing."""
    total = sha256()
    for place in places:
        path = root / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(ast.dump(_Undocumented().visit(ast.parse(file.read_text()))).encode())
    return total.hexdigest()[:16]


class _Undocumented(ast.NodeTransformer):
    """Replaces strings that stand alone, as docstrings do."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """Nothing in place of the string."""
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if alone else node
