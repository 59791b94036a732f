"""`ays keys`: the API keys of a service, in its Redis."""

import json
import sys
import time
from pathlib import Path

from rich import box
from rich.table import Table

from ays_process.logs import without_passwords
from ays_store.api_keys import ApiKey, Scope, id_of
from service.access.known_keys import FRESH_SECONDS
from service.cli.exits import CommandError, ExitCode
from service.cli.opened import opened_store
from service.cli.tables import Titled, show


def create_key(name: str, scope: Scope, *, data: Path) -> None:
    """Make a key and print it, which nobody can do again.

    Args:
        name: what it is for.
        scope: what it is good for.
        data: folder of the embedded Redis.
    """
    with opened_store(data) as store:
        key, secret = store.api_keys.create(name, scope)
    sys.stderr.write(f"key {key.id} for {name!r}, scope {scope.value}; it is shown this once, only its hash is stored\n")
    sys.stdout.write(f"{secret}\n")


def list_keys(*, data: Path, as_json: bool) -> None:
    """Print all keys, without what would open anything.

    Args:
        data: folder of the embedded Redis.
        as_json: print a JSON array.
    """
    with opened_store(data) as store:
        keys = store.api_keys.list()
    if as_json:
        rows = [key.model_dump(mode="json", exclude={"digest"}) | {"used_at": used_at} for key, used_at in keys]
        sys.stdout.write(f"{json.dumps(rows)}\n")
    else:
        show(_table(keys))


def revoke_key(key_id: str, *, data: Path) -> None:
    """Make a key good for nothing.

    Args:
        key_id: its id, or the whole key.
        data: folder of the embedded Redis.

    Raises:
        CommandError: there is no such key.
    """
    known = id_of(key_id) or key_id
    with opened_store(data) as store:
        revoked = store.api_keys.revoke(known)
    if not revoked:
        message = f"received {without_passwords(key_id)!r}; expected the id of a key; `ays keys list` shows them"
        raise CommandError(message, ExitCode.BAD_INPUT)
    sys.stderr.write(f"revoked; every service that reaches its Redis refuses it within {FRESH_SECONDS:.0f} s\n")


def _table(keys: list[tuple[ApiKey, float | None]]) -> Titled:
    table = Table(box=box.SIMPLE)
    for column in ("id", "name", "scope", "created", "last used"):
        table.add_column(column)
    for key, used_at in keys:
        table.add_row(key.id, key.name, key.scope.value, _day(key.created_at), _day(used_at) if used_at else "never")
    return Titled("API keys", table)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
