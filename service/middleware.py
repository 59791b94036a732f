"""Pure ASGI middleware: security headers, request id and log, size limit of bodies."""

import logging
import re
import time
import uuid
from collections.abc import Iterator

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import ProblemError, response
from service.schedules.lookups import from_memory

_log = structlog.get_logger("service")
_level = logging.getLogger("service")

_HARMLESS = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    # Whatever may be kept says so itself.
    (b"cache-control", b"no-store"),
]

_OVER_TLS = [*_SECURITY, (b"strict-transport-security", b"max-age=31536000")]
"""Only where TLS is, ours or a proxy's: elsewhere browsers ignore it, and a host that is reached without must not be locked out."""

# Swagger UI, our own copy, writes styles into its elements; it runs no script but its own file.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

# The page runs its own files and nothing else, and no string of it ever becomes markup or code.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

_POLICIES = {"/": _PAGE_POLICY, "/docs": _DOCS_POLICY}


class SecurityHeaders:
    """Adds the security headers that a response does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [name for name, _ in message["headers"]]
                added = _OVER_TLS if scope["scheme"] == "https" else _SECURITY
                message["headers"] += [header for header in added if header[0] not in own]
                if scope["path"] in _POLICIES:
                    MutableHeaders(scope=message)["content-security-policy"] = _POLICIES[scope["path"]]
            await send(message)

        await self._app(scope, receive, send_secured)


class RequestLog:
    """Gives every request an id, logs it when it ends, and answers a failure that nobody else handled with a problem.

    Answers from memory are logged at the level `debug` only: a line costs more than such an answer, and the metrics count them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0
        start = time.perf_counter()

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if status:
                raise
            await response(_internal(request_id), instance=scope["path"])(scope, receive, send_marked)
        finally:
            if not from_memory(scope) or _level.isEnabledFor(logging.DEBUG):
                milliseconds = round((time.perf_counter() - start) * 1000, 1)
                client = scope["client"][0] if scope.get("client") else None
                _log.info("request", client=client, method=scope["method"], path=scope["path"], status=status, milliseconds=milliseconds)


class BodyLimit:
    """Refuses bodies over a size, whether they declare it or come in chunks, before anything parses them.

    Args:
        app: the application behind.
        limit: largest body in bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        size = int(declared) if declared.isdecimal() else 0
        chunks: list[Message] = []
        received = 0
        while size <= self._limit:
            message = await receive()
            chunks.append(message)
            received += len(message.get("body", b""))
            size = max(size, received)
            if not message.get("more_body", False):
                break
        if size > self._limit:
            await response(_too_large(size, self._limit), instance=scope["path"])(scope, receive, send)
            return
        await self._app(scope, _replay(iter(chunks), receive), send)


def _replay(chunks: Iterator[Message], receive: Receive) -> Receive:
    async def replayed() -> Message:
        for message in chunks:
            return message
        return await receive()

    return replayed


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        # A foreign id ends up in our logs and headers: only harmless ones are taken over.
        if name == b"x-request-id" and _HARMLESS.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex


def _too_large(size: int, limit: int) -> ProblemError:
    return ProblemError(
        413,
        f"the body has more than {limit} bytes",
        received=f"{size} bytes or more",
        expected=f"at most {limit} bytes",
        fix="send the fields of the request only",
        headers={"connection": "close"},
    )


def _internal(request_id: str) -> ProblemError:
    return ProblemError(
        500,
        "the service failed on this request",
        fix=f"try again; if it stays so, report the request id {request_id} to the operator, the log has the reason",
    )
