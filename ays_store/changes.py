"""Changes of what lookups are answered from, told by Redis itself: client-side tracking (RESP3) in broadcast mode.

Redis tells of every write below our prefixes, whoever made it and however: a commit, an import, an operator's hand. It does so before it
answers the writer. What nobody would tell is that the connection is dead, so Redis is asked at short intervals whether it is still there:
whoever heard of no change knows how long ago that was certain.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError, ResponseError

from ays_client.contract import Target
from ays_store import keys
from ays_store.records import text
from ays_store.tables import table_of

PING_SECONDS = 0.5
"""How often Redis is asked whether it is still there."""

_ANSWER_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_REFUSED_SECONDS = 10.0

_ANY_CELLS = keys.cells("")
_PREFIXES = (keys.variants(""), _ANY_CELLS, keys.curve(""), keys.MODELS)

NEVER: frozenset[str] = frozenset()
"""What content depends on that is addressed by its hash."""

_log = logging.getLogger(__name__)


def keys_of_lookup(target: Target) -> frozenset[str]:
    """What decides which stored schedule answers a target: names of keys, each a dependency that `Follower.changed` tells of."""
    return frozenset({keys.FINGERPRINTS, keys.variants(target.model), keys.cells(table_of(target))})


def keys_of_model(model_id: str) -> frozenset[str]:
    """All that is known of a model, its whole table included; the prefix of the tables stands for any of them."""
    return frozenset({keys.FINGERPRINTS, keys.MODELS, keys.variants(model_id), keys.curve(model_id), _ANY_CELLS})


class Follower(Protocol):
    """Who is told of changes."""

    def changed(self, names: Sequence[str]) -> None:
        """Some keys have changed: their names, and for each table the prefix of all tables."""

    def all_changed(self) -> None:
        """Redis was emptied."""

    def joined(self) -> None:
        """The connection is new: whatever was read before may have changed."""

    def certain(self, at: float) -> None:
        """All changes until then (`time.monotonic`) have been told."""

    def cut_off(self, *, away: bool) -> None:
        """Nothing more is told until the next `joined`.

        Args:
            away: Redis does not answer; else it refuses to tell.
        """


class Changes:
    """The changes in one Redis.

    Args:
        url: Where it is.
    """

    def __init__(self, url: str) -> None:
        self._pool: Any = ConnectionPool.from_url(url, protocol=3, socket_connect_timeout=_ANSWER_SECONDS)
        self._quiet = False

    async def tell(self, follower: Follower) -> None:
        """Tell of changes until canceled; connects again whenever the connection is lost."""
        while True:
            connection: Any = self._pool.make_connection()
            pause = _RETRY_SECONDS
            try:
                await self._session(connection, follower)
            except ResponseError as error:
                # It is there (unless it still loads its file), and may be of use without this.
                follower.cut_off(away=False)
                pause = _REFUSED_SECONDS
                self._say("redis does not tell of changes; schedules are looked up in redis every time", error)
            except (RedisError, OSError, TimeoutError) as error:
                follower.cut_off(away=True)
                self._say("redis is away; cached schedules are served as stale", error)
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(pause)

    async def _session(self, connection: Any, follower: Follower) -> None:
        async def heard(message: list[Any]) -> None:
            _tell(message, follower)

        async with asyncio.timeout(2 * _ANSWER_SECONDS):
            await connection.connect()
            # Nothing public hands these messages over, not even redis-py's own caches use anything else.
            connection._parser.set_invalidation_push_handler(heard)
            prefixes = [word for prefix in _PREFIXES for word in ("PREFIX", prefix)]
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
            await connection.read_response()
        first = True
        while True:
            asked = time.monotonic()
            await connection.send_command("PING")
            async with asyncio.timeout(_ANSWER_SECONDS):
                while await _next(connection) != b"PONG":
                    pass
            if first:
                follower.joined()
                self._quiet = first = False
            follower.certain(asked)
            with suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    while True:
                        await _next(connection)

    def _say(self, what: str, error: Exception) -> None:
        # Once, not at every try to connect.
        _log.log(logging.DEBUG if self._quiet else logging.WARNING, "%s: %s: %s", what, type(error).__name__, error)
        self._quiet = True


async def _next(connection: Any) -> Any:
    """Wait for the next message, a change (which has been told by then) or an answer."""
    # Giving up waiting must not cost us the connection.
    return await connection.read_response(push_request=True, disconnect_on_error=False)


def _tell(message: list[Any], follower: Follower) -> None:
    if message[1] is None:
        follower.all_changed()
        return
    names = [text(name) for name in message[1]]
    follower.changed([*names, *([_ANY_CELLS] if any(name.startswith(_ANY_CELLS) for name in names) else [])])
