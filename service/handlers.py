"""Exception handlers: every failure becomes a problem."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ays_client.webhooks import JobSubmission
from ays_store.damage import DamagedError
from service.problems import ProblemError, response

_log = structlog.get_logger("service")

RETRY_SECONDS = 2
"""What `Retry-After` says while Redis is away."""

_VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_COMMON_FIELDS = [name for name in JobSubmission.model_fields if name != "paper"]
"""Fields that a misspelt one may have meant."""


def add_handlers(app: FastAPI) -> None:
    """Answer every failure of the application with a problem.

    Args:
        app: the application.
    """
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RedisError, _redis)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return response(error, instance=request.url.path)


async def _redis(request: Request, error: Exception) -> Response:
    return response(redis_problem(error), instance=request.url.path)


def redis_problem(error: Exception) -> ProblemError:
    """Log a failure of Redis, and make the problem that the client gets to see.

    Args:
        error: the failure.
    """
    if isinstance(error, DamagedError):
        return _damaged(error)
    _log.warning("redis failed", error=f"{type(error).__name__}: {error}")
    return ProblemError(
        503,
        "the service cannot reach its Redis, or Redis refuses to write",
        fix=f"try again in {RETRY_SECONDS} s; operators: see /readyz and the log",
        headers={"retry-after": str(RETRY_SECONDS)},
    )


def _damaged(error: DamagedError) -> ProblemError:
    _log.error("damaged data", key=error.place.name, error=str(error))
    return ProblemError(
        500,
        f"{error.place.name} in Redis is damaged: {error.received}",
        received=error.received,
        expected=error.expected,
        fix=error.place.fix,
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    match error.status_code:
        case 404:
            problem = ProblemError(
                404, f"there is nothing at {path}", received=path, expected="a path of the API", fix="see /docs for the paths"
            )
        case 405:
            allowed = ", ".join(_methods(request))
            problem = ProblemError(
                405,
                f"{path} does not take {request.method}",
                received=request.method,
                expected=allowed or None,
                fix="see /docs for the methods of each path",
                headers={"allow": allowed},
            )
        case 400:
            problem = ProblemError(
                400, "the body cannot be read as JSON", expected="a JSON object in UTF-8", fix="check quotes, braces and numbers"
            )
        case status:
            problem = ProblemError(status, str(error.detail), headers=error.headers)
    return response(problem, instance=path)


def _methods(request: Request) -> list[str]:
    # The error knows those of the first route of this path only.
    routes = request.app.routes
    return [verb for verb in _VERBS if any(route.matches({**request.scope, "method": verb})[0] is Match.FULL for route in routes)]


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        problem = _malformed(first, str(error.body))
    elif first["loc"] == ("body",) and first["type"] != "missing" and not _is_json(request):
        problem = ProblemError(
            415,
            "the body is not declared as JSON",
            received=request.headers.get("content-type", "no content-type"),
            expected="application/json",
            fix="send the header content-type: application/json",
        )
    else:
        problem = _invalid(error.errors())
    return response(problem, instance=request.url.path)


def _is_json(request: Request) -> bool:
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return declared == "application/json" or (declared.startswith("application/") and declared.endswith("+json"))


def _malformed(mistake: Mapping[str, Any], body: str) -> ProblemError:
    position = int(mistake["loc"][-1])
    return ProblemError(
        400,
        f"the body is not JSON: {mistake['ctx']['error']} at character {position}",
        received=body[max(0, position - 20) : position + 20],
        expected="a JSON object",
        fix="check quotes, commas and braces around that place",
    )


def _invalid(mistakes: Sequence[Mapping[str, Any]]) -> ProblemError:
    # A field that takes one of several types has a mistake for each of them.
    fields: dict[str, list[Mapping[str, Any]]] = {}
    for mistake in mistakes:
        fields.setdefault(_field(mistake["loc"]), []).append(mistake)
    return ProblemError(
        422,
        "; ".join(f"{name}: {' or '.join(map(_reason, each))}" for name, each in fields.items()),
        received={name: "nothing" if each[0]["type"] == "missing" else each[0]["input"] for name, each in fields.items()},
        expected="; ".join(f"{name}: {' or '.join(map(_expectation, each))}" for name, each in fields.items()),
        fix="; ".join(_fix(name, each[0]) for name, each in fields.items()),
    )


def _field(location: Sequence[object]) -> str:
    # The first part says where it was (body, query, path); the branches of a union follow the name of the field.
    inner = [str(part) for part in location[1:]]
    return inner[0] if inner else str(location[0])


def _reason(mistake: Mapping[str, Any]) -> str:
    message = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"


def _expectation(mistake: Mapping[str, Any]) -> str:
    match mistake["type"]:
        case "extra_forbidden":
            return "a known field"
        case "missing":
            return "a value"
        case "finite_number":
            return "a finite number"
        case "value_error":
            return _reason(mistake).rpartition("; ")[2]
    return _reason(mistake).removeprefix("input should be ")


def _fix(name: str, mistake: Mapping[str, Any]) -> str:
    match mistake["type"]:
        case "extra_forbidden":
            close = [] if name in JobSubmission.model_fields else difflib.get_close_matches(name, _COMMON_FIELDS, n=1)
            return f"rename {name} to {close[0]}" if close else f"leave {name} out"
        case "missing":
            return "send a JSON object" if name == "body" else f"add {name}"
        case "value_error":
            return _reason(mistake).rpartition("; ")[2]
    return f"change {name}"
