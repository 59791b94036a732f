"""Lookups of schedules from the cache, in front of everything that would parse them: `CachedLookups`, pure ASGI.

It keeps the responses of those path operations that say what their answer depends on (`remember`). Nothing of a request but its path, its
query and whether it takes gzip may decide such a response; who may ask at all is decided before this.
"""

import asyncio
import math

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.encoding import takes_gzip
from service.metrics import Metrics
from service.schedules.answers import matches
from service.schedules.cache import Answer, Cache, Freshness, Headers, Key, Session
from service.schedules.last_use import LastUse

PATH = "/v1/schedules"

_UNAVAILABLE = 503
_NOT_MODIFIED_HAS = (b"etag", b"cache-control", b"vary")


def remember(request: Request, depends: frozenset[str], *, used: str) -> None:
    """Let the response to a request be kept.

    Args:
        request: the request.
        depends: the keys in Redis that decide the response, see `ays_store.changes`; none: it never changes.
        used: id of the table or the schedule that it comes from: it is in use.
    """
    request.state.depends, request.state.used = depends, used


def from_memory(scope: Scope) -> bool:
    """Whether a request was answered from the cache, with what is current.

    Args:
        scope: the request, after it was served.
    """
    return "cached" in scope


class CachedLookups:
    """Answers lookups from the cache, and fills it.

    Args:
        app: the application behind.
        cache: the cache.
        metrics: where hits and misses are counted.
        last_use: told of what is in use.
    """

    def __init__(self, app: ASGIApp, cache: Cache, metrics: Metrics, last_use: LastUse) -> None:
        self._app, self._cache, self._metrics, self._last_use = app, cache, metrics, last_use
        self._asked: dict[Key, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return
        conditions = [value for name, value in scope["headers"] if name == b"if-none-match"]
        key = Key(scope["path"], scope["query_string"], takes_gzip(scope))
        if key in self._asked and self._freshness(key) is Freshness.UNKNOWN:
            # Many ask at once for what has just changed: one of them looks it up.
            await self._asked[key].wait()
        freshness = self._freshness(key)
        if freshness is Freshness.UNKNOWN:
            await self._look_up(key, conditions, scope, receive, send)
        else:
            await self._serve(key, conditions, scope, send, stale=freshness is Freshness.STALE)

    def _freshness(self, key: Key) -> Freshness:
        answer = self._cache.get(key)
        return Freshness.UNKNOWN if answer is None else self._cache.freshness(answer)

    async def _serve(self, key: Key, conditions: list[bytes], scope: Scope, send: Send, *, stale: bool) -> None:
        answer = self._cache.get(key)
        assert answer is not None
        scope["route"] = answer.route
        if not stale:
            scope["cached"] = True
        self._metrics.looked_up("stale" if stale else "hit")
        self._last_use.note(answer.used)
        await _send(answer, conditions, send, stale=stale)

    async def _look_up(self, key: Key, conditions: list[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        # The whole answer is wanted, whatever this client has of it: others have not.
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"if-none-match"]
        cache, held, done = self._cache, _Held(), asyncio.Event()
        changes, session = cache.changes, cache.session
        self._asked.setdefault(key, done)
        try:
            await self._app(scope, receive, held.hold)
            answer = held.answer(scope, session)
            if answer is not None and cache.changes == changes:
                cache.put(key, answer)
        finally:
            if self._asked.get(key) is done:
                del self._asked[key]
            done.set()
        if held.status == _UNAVAILABLE and cache.get(key) is not None:
            await self._serve(key, conditions, scope, send, stale=True)
        elif answer is not None:
            self._metrics.looked_up("miss")
            self._last_use.note(answer.used)
            await _send(answer, conditions, send, stale=False)
        else:
            for message in held.messages:
                await send(message)


class _Held:
    """A response, held back until it is complete."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def hold(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 0

    def answer(self, scope: Scope, session: Session) -> Answer | None:
        """The answer to keep; None when it is not one that may be kept."""
        depends = scope.get("state", {}).get("depends")
        if depends is None or self.status != 200:
            return None
        headers = list(self.messages[0]["headers"])
        return Answer(
            headers=headers,
            brief=[header for header in headers if header[0] in _NOT_MODIFIED_HAS],
            body=b"".join(message.get("body", b"") for message in self.messages[1:]),
            etag=dict(headers)[b"etag"],
            depends=depends,
            route=scope.get("route"),
            used=scope["state"]["used"],
            session=session,
        )


async def _send(answer: Answer, conditions: list[bytes], send: Send, *, stale: bool) -> None:
    known = bool(conditions) and matches(conditions, answer.etag)
    headers = list(answer.brief if known else answer.headers)
    if stale:
        headers = [header for header in headers if header[0] != b"cache-control"] + _stale(answer)
    await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if known else answer.body})


def _stale(answer: Answer) -> Headers:
    seconds = max(0, math.ceil(answer.age))
    warning = f'110 - "Redis is away; this was current {seconds} seconds ago"'
    return [(b"cache-control", b"no-cache"), (b"age", str(seconds).encode()), (b"warning", warning.encode())]
