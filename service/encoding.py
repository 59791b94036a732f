"""Content encoding: whether a client takes gzip, decided once for each request, by all of its `Accept-Encoding`."""

from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

MINIMUM_SIZE, LEVEL = 8192, 5
"""Smaller bodies are not compressed: it costs more than it saves. Schedules are smaller."""

_NAME = b"accept-encoding"
_GZIP = (_NAME, b"gzip")


def takes_gzip(scope: Scope) -> bool:
    """Whether the client takes gzip.

    Args:
        scope: the request, behind `AcceptEncoding`.
    """
    return _GZIP in scope["headers"]


class AcceptEncoding:
    """Replaces what a client says of encodings by `gzip` or nothing, so that whoever reads it behind this reads the same.

    Args:
        app: the application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            given = tuple(value for name, value in scope["headers"] if name == _NAME)
            if given and given != (b"gzip",):
                others = [header for header in scope["headers"] if header[0] != _NAME]
                # In place: what is noted in the scope behind this is read before it.
                scope["headers"] = [*others, _GZIP] if accepts_gzip(given) else others
        await self._app(scope, receive, send)


@lru_cache(maxsize=256)
def accepts_gzip(values: tuple[bytes, ...]) -> bool:
    """Whether gzip is acceptable (RFC 9110, 12.5.3): named, or covered by `*`, with a weight above 0.

    Args:
        values: all values of `Accept-Encoding`.
    """
    weights: dict[str, float] = {}
    for part in b",".join(values).decode("latin-1").lower().split(","):
        coding, *parameters = (word.strip() for word in part.split(";"))
        weights[coding] = _weight(parameters)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
