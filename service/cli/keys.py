"""`ays keys`: the API keys of a service, in its Redis."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis.exceptions import NoPermissionError, RedisError
from rich import box
from rich.table import Table

from ays_process.logs import without_passwords
from ays_store import Store
from ays_store.api_keys import ApiKey, Scope, id_of
from service.access.known_keys import FRESH_SECONDS
from service.cli.exits import CommandError, ExitCode
from service.cli.tables import Titled, show
from service.embedded_redis import EmbeddedRedis, running_url
from service.settings import load_settings


def create_key(name: str, scope: Scope, *, data: Path) -> None:
    """Make a key and print it, which nobody can do again.

    Args:
        name: what it is for.
        scope: what it is good for.
        data: folder of the embedded Redis.
    """
    with _store(data) as store:
        key, secret = store.api_keys.create(name, scope)
    sys.stderr.write(f"key {key.id} for {name!r}, scope {scope.value}; it is shown this once, only its hash is stored\n")
    sys.stdout.write(f"{secret}\n")


def list_keys(*, data: Path, as_json: bool) -> None:
    """Print all keys, without what would open anything.

    Args:
        data: folder of the embedded Redis.
        as_json: print a JSON array.
    """
    with _store(data) as store:
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
    with _store(data) as store:
        revoked = store.api_keys.revoke(known)
    if not revoked:
        message = f"received {without_passwords(key_id)!r}; expected the id of a key; `ays keys list` shows them"
        raise CommandError(message, ExitCode.BAD_INPUT)
    sys.stderr.write(f"revoked; every service that reaches its Redis refuses it within {FRESH_SECONDS:.0f} s\n")


@contextmanager
def _store(data: Path) -> Iterator[Store]:
    """The store of the Redis that is named; else of the embedded one, started for a moment where it does not run."""
    with _redis_url(data) as url:
        store = Store.open(url)
        try:
            yield store
        except NoPermissionError as error:
            message = f"this user of Redis may not handle keys ({error}); name one that may in AYS_REDIS_URL: docs/operating.md"
            raise CommandError(message, ExitCode.BAD_INPUT) from None
        except RedisError as error:
            message = f"Redis does not answer: {without_passwords(str(error))}; start it, or correct AYS_REDIS_URL"
            raise CommandError(message, ExitCode.SERVICE_AWAY) from None
        finally:
            store.close()


@contextmanager
def _redis_url(data: Path) -> Iterator[str]:
    url = load_settings().redis_url if os.environ.get("AYS_REDIS_URL") else running_url(data)
    if url is not None:
        yield url
        return
    with EmbeddedRedis(data / "redis") as redis:
        yield redis.url


def _table(keys: list[tuple[ApiKey, float | None]]) -> Titled:
    table = Table(box=box.SIMPLE)
    for column in ("id", "name", "scope", "created", "last used"):
        table.add_column(column)
    for key, used_at in keys:
        table.add_row(key.id, key.name, key.scope.value, _day(key.created_at), _day(used_at) if used_at else "never")
    return Titled("API keys", table)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
