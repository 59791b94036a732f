"""The bounds of a connection, which hold before anybody is known: bytes and seconds of a request, and connections of a process."""

import asyncio
from asyncio.events import TimerHandle
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.problems import ProblemError, response

HEAD_BYTES_MAX = 32 * 1024
"""Most bytes of a request line and its header fields together."""


class BoundedConnection(HttpToolsProtocol):
    """An HTTP/1.1 connection of uvicorn with bounds on what is read before a request is complete.

    Uvicorn bounds none of them: header fields are kept whatever their size, a request that never ends is waited for, and its own limit of
    connections counts only those whose header fields are complete.
    """

    connections_max = 1000
    """Most connections of this process; more are closed with 503."""

    request_seconds = 10.0
    """Header fields have to arrive within this time, and a body within this time of them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or turn it away."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._timer: TimerHandle | None = None
        if len(self.connections) > self.connections_max:
            self._refuse(_too_many(self.connections_max))
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self.transport.is_closing():
            return
        reading_head = self._head_bytes >= 0
        if reading_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # The parser keeps what it has read of a field: bytes are counted as they come, complete or not.
        if self.transport.is_closing():
            return
        if reading_head and self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_too_large())
        elif self._head_bytes > 0 and self._timer is None:
            # Uvicorn's timer for idle connections has just ended, for bytes that may begin no request.
            self._wait()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, or to a refusal."""
        self._head_bytes = -1
        self._wait()
        # One read may bring a whole head that is too large.
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        application = self.app
        if size > HEAD_BYTES_MAX:
            self.app = _refuse_head
        try:
            super().on_headers_complete()
        finally:
            self.app = application

    def on_message_complete(self) -> None:
        """End a request: what follows is the next one's."""
        self._head_bytes = 0
        self._stop_waiting()
        super().on_message_complete()

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.request_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(_overdue(self.request_seconds))
        else:
            # An answer may be on its way already; a second one would be read as a part of it.
            self.transport.close()

    def _refuse(self, error: ProblemError) -> None:
        self._stop_waiting()
        answer = response(error)
        fields = [*answer.raw_headers, (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
        reason = (error.problem.title or "").encode()
        self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (answer.status_code, reason, lines, bytes(answer.body)))
        self.transport.close()


async def _refuse_head(scope: Any, receive: Any, send: Any) -> None:
    await _closing(_too_large(), scope, receive, send)


async def _closing(error: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    error.headers["connection"] = "close"
    await response(error, instance=scope["path"])(scope, receive, send)


def _too_large() -> ProblemError:
    return ProblemError(
        431,
        "the header fields of the request are too large",
        received=f"more than {HEAD_BYTES_MAX} bytes",
        expected=f"at most {HEAD_BYTES_MAX} bytes of request line and header fields",
        fix="send fewer or shorter header fields; a cookie of another application on the same host may be the cause",
    )


def _overdue(seconds: float) -> ProblemError:
    return ProblemError(
        408,
        "the request did not arrive in time",
        received="an incomplete request",
        expected=f"header fields within {seconds:g} s, a body within {seconds:g} s of them",
        fix="send the request again, without pauses",
    )


def _too_many(limit: int) -> ProblemError:
    return ProblemError(
        503,
        "the service has no connection free",
        received=f"one more than {limit} connections",
        expected=f"at most {limit} connections",
        fix="try again in 5 s; keep connections alive instead of opening one per request; operators: AYS_CONNECTION_LIMIT",
        headers={"retry-after": "5"},
    )
