"""HTTP below the client: requests whose failures are the errors of `ays_client.errors`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from ays_client.contract import Problem
from ays_client.errors import AccessDenied, BadRequest, NotFound, ServiceError, Unavailable

_Body = TypeVar("_Body", bound=BaseModel)

_SILENCE_SECONDS = 60.0
"""An event stream without even a heartbeat for so long is broken."""

_CONNECT_SECONDS, _READ_SECONDS, _ANSWER_SECONDS = 1.0, 5.0, 10.0
"""Of a background request: for connecting, between two reads, and altogether."""

_ANSWER_BYTES = 2**20

_KINDS: dict[int, type[ServiceError]] = {401: AccessDenied, 403: AccessDenied, 404: NotFound, 429: Unavailable}
"""What a status stands for, where its first digit does not say it."""


class Transport:
    """Connections to one service.

    Args:
        url: address of the service.
        timeout: seconds for connecting and for each read or write.
        headers: sent with every request.
    """

    def __init__(self, url: str, *, timeout: float, headers: Mapping[str, str]) -> None:
        if not url.startswith(("http://", "https://")):
            msg = f"received the service address {url!r}; expected one like http://127.0.0.1:8000"
            raise ValueError(msg)
        self._url = url.rstrip("/")
        self._http = httpx2.Client(base_url=self._url, timeout=timeout, headers=headers)
        self._stream_timeout = httpx2.Timeout(timeout, read=max(timeout, _SILENCE_SECONDS))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(
        self,
        body: type[_Body],
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        json: Mapping[str, object] | None = None,
    ) -> _Body:
        """Send a request and read its JSON answer.

        Args:
            body: model of the answer.
            method: HTTP method.
            path: path below the service's address.
            query: query parameters; those that are None are left out.
            json: JSON body of the request.

        Raises:
            ServiceError: the service answered with an error, or with something else than `body`, or not at all.
        """
        response = self.request(method, path, query=query, json=json)
        try:
            return body.model_validate_json(response.content)
        except ValidationError as error:
            raise Unavailable(_foreign(self._url, response.status_code, response.content)) from error

    def request(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, json: Mapping[str, object] | None = None
    ) -> httpx2.Response:
        """Send a request.

        Returns:
            A response with a 2xx status.

        Raises:
            ServiceError: the service answered with another status, or not at all.
        """
        params = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        try:
            response = self._http.request(method, path, params=params, json=json)
        except httpx2.TransportError as error:
            raise Unavailable(_silent(self._url, error)) from error
        if not response.is_success:
            raise error_of(self._url, response)
        return response

    @contextmanager
    def events(self, path: str, last_event_id: str | None) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """Connect to an event stream.

        Args:
            path: path below the service's address.
            last_event_id: resume after this event.

        Raises:
            ServiceError: the service answered with an error or not at all, or the connection broke.
        """
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            with self._http.sse(path, headers=headers, timeout=self._stream_timeout) as source:
                if not source.response.is_success:
                    source.response.read()
                    raise error_of(self._url, source.response)
                yield iter(source)
        except httpx2.TransportError as error:
            raise Unavailable(_silent(self._url, error)) from error


def conditional_get(
    url: str, path: str, *, query: Mapping[str, object], headers: Mapping[str, str], etag: str | None
) -> tuple[bytes, str | None] | None:
    """One request on a connection of its own, for a background thread: bounded in time and size whatever answers.

    Args:
        url: address of the service.
        path: path below it.
        query: query parameters.
        headers: sent with it.
        etag: tag of the body at hand, or None.

    Returns:
        Body and tag; None: the body at hand is still right.

    Raises:
        ServiceError: the service answered with an error, too much or too slowly, or not at all.
    """
    sent = {**headers, **({} if etag is None else {"If-None-Match": etag})}
    end, body = time.monotonic() + _ANSWER_SECONDS, b""
    try:
        with (
            httpx2.Client(base_url=url, timeout=httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)) as http,
            http.stream("GET", path, params={name: _word(value) for name, value in query.items()}, headers=sent) as response,
        ):
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _ANSWER_BYTES or time.monotonic() > end:
                    raise Unavailable(_endless(url))
    except httpx2.HTTPError as error:
        raise Unavailable(_silent(url, error)) from error
    if response.status_code == httpx2.codes.NOT_MODIFIED and etag is not None:
        return None
    if not response.is_success:
        raise error_of(url, response, body)
    return body, response.headers.get("etag")


def error_of(url: str, response: httpx2.Response, body: bytes | None = None) -> ServiceError:
    """The error that a response with a failing status stands for.

    Args:
        url: address of the service.
        response: the response.
        body: its body; None: it has been read.
    """
    content = response.content if body is None else body
    try:
        problem = Problem.model_validate_json(content)
    except ValidationError:
        problem = _foreign(url, response.status_code, content)
    kind = _KINDS.get(response.status_code, BadRequest if response.status_code < 500 else Unavailable)
    delay = response.headers.get("retry-after", "")
    return kind(problem, retry_after=float(delay) if delay.isdecimal() else None)


def _word(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _silent(url: str, error: Exception) -> Problem:
    return Problem(
        title="No answer",
        status=503,
        detail=f"the service at {url} does not answer: {str(error) or type(error).__name__}",
        fix="check the address and that the service runs; `ays serve` starts one",
    )


def _endless(url: str) -> Problem:
    return Problem(title="No end", status=503, detail=f"the answer of {url} has no end", fix="check the address")


def _foreign(url: str, status: int, body: bytes) -> Problem:
    return Problem(
        title="Not the schedule service",
        status=status,
        detail=f"{url} answered with status {status} and a body that is not the schedule service's",
        received=body.decode("utf-8", "replace")[:200],
        fix="check the address, and that client and service have the same version",
    )
