"""Errors as RFC 9457 problems: what was received, what is expected, and how to fix it.

Code raises `ProblemError`; the handlers of `service.handlers` turn it, and every other failure, into a response.
"""

import math
from collections.abc import Mapping

from fastapi.responses import Response

from ays_client.contract import Problem

MEDIA_TYPE = "application/problem+json"

_LONGEST = 200

_TITLES = {
    400: "Bad request",
    401: "No valid API key",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Request cannot be processed",
    429: "Too many requests",
    431: "Header fields too large",
    500: "Internal error",
    503: "Service unavailable",
}


_ANYWHERE = (400, 401, 403, 413, 421, 422, 429, 500, 503)
"""What any request may end in: a wrong key, name or size, too many of them, a field that is not one, and failures."""


class ProblemError(Exception):
    """A request that cannot be answered as asked.

    Args:
        status: HTTP status.
        detail: what is wrong, in one sentence.
        received: what came in; any value, it is made safe for JSON.
        expected: what would have been right.
        fix: what to do.
        headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        received: object = None,
        expected: str | None = None,
        fix: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(title=_TITLES[status], status=status, detail=detail, received=plain(received), expected=expected, fix=fix)
        self.headers = dict(headers or {})


def response(error: ProblemError, *, instance: str | None = None) -> Response:
    """The HTTP response of a problem.

    Args:
        error: the problem and its headers.
        instance: path of the request.
    """
    problem = error.problem.model_copy(update={"instance": instance})
    # Through ASCII: a lone surrogate in the request would not survive as UTF-8.
    text = problem.model_dump_json(exclude_none=True, ensure_ascii=True)
    return Response(text, status_code=problem.status, media_type=MEDIA_TYPE, headers=error.headers)


def declared(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The `responses=` of a path operation that may end in problems of these statuses; those of every operation are added."""
    schema = Problem.model_json_schema()
    content = {MEDIA_TYPE: {"schema": schema}}
    return {status: {"description": _TITLES[status], "content": content} for status in sorted({*statuses, *_ANYWHERE})}


def plain(value: object) -> object:
    """A value as JSON can hold it: no inf or NaN, nothing long, nothing but JSON's own types."""
    match value:
        case None | bool():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case int():
            # Longer ones are outside what JSON readers keep exact.
            return value if abs(value) < 2**53 else _short(_digits(value))
        case dict():
            return {_short(str(name)): plain(item) for name, item in list(value.items())[:20]}
        case list() | tuple():
            return [plain(item) for item in value[:20]]
        case bytes():
            return _short(value.decode("utf-8", "replace"))
    return _short(str(value))


def _digits(value: int) -> str:
    return f"an integer of {value.bit_length()} bits" if value.bit_length() > 2000 else str(value)


def _short(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}..."
