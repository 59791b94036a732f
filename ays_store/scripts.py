"""Lua scripts: where several keys change together, or a change depends on what is there.

All times are microseconds of Redis' own clock, so the clocks of hosts do not matter.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from ays_store import keys, turns
from ays_store.damage import of_script
from ays_store.limits import DELIVERY_SECONDS, EVENTS_KEPT, EVENTS_SECONDS, LIVE_SECONDS

_FOLDER = Path(__file__).parent / "lua"

_CONSTANTS = f"""
local LIVE, EVENTS_KEPT, EVENTS_SECONDS = {LIVE_SECONDS * 1_000_000:.0f}, {EVENTS_KEPT}, {EVENTS_SECONDS}
local DELIVERY_SECONDS = {DELIVERY_SECONDS}
"""


@cache
def lua(name: str) -> str:
    """The text of a file of Lua.

    Args:
        name: its path below `lua/`, without the suffix.
    """
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


PRELUDE = "".join((keys.LUA, _CONSTANTS, lua("common"), turns.CONSTANTS, lua("turns"), lua("records")))
"""What every script begins with: the names of the keys, and what several of them do."""


class Script:
    """A Lua script, callable with its arguments; sent once per server, then by its hash.

    Args:
        redis: where it runs.
        *names: files below `lua/`, without the suffix: what it needs beside the prelude, then itself.
    """

    def __init__(self, redis: Redis, *names: str) -> None:
        self._redis: Any = redis
        self._text = "".join((PRELUDE, *map(lua, names)))
        self._hash = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, *args: str | bytes | int | float) -> Any:
        """Runs the script atomically.

        Args:
            *args: What the script reads as ARGV.

        Raises:
            DamagedError: A value that it needs is damaged.
        """
        try:
            try:
                return self._redis.evalsha(self._hash, 0, *args)
            except NoScriptError:
                # In one command, which is repeated whole when Redis is restarted again meanwhile.
                return self._redis.eval(self._text, 0, *args)
        except ResponseError as error:
            damage = of_script(error, self._redis, args)
            if damage is None:
                raise
            raise damage from error
