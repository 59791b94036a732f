"""Hosts and origins: a web site must not use the browser of a person to talk to a service on that person's machine.

On loopback no key is asked for, so nothing but the address protects the service. A site could point its own name at 127.0.0.1 (DNS
rebinding): the Host header has that name, and is refused. It could send a request that needs no permission of the browser: the Origin
header has its name, and whatever changes something is refused.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.rules import READING
from service.problems import ProblemError, response

_PROBES = frozenset({"/healthz", "/readyz"})
"""An orchestrator asks for them by whatever address it knows; they tell nothing."""


_FORWARDING = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip", b"x-original-host"})
"""Header fields that proxies add, beside `X-Forwarded-...`."""


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address, or a name stands for such an address."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def serves_loopback(scope: Scope) -> bool:
    """Whether a connection came in over loopback, or over a Unix socket, whatever the server was told to listen on."""
    server = scope.get("server")
    return server is None or server[1] is None or is_loopback(server[0])


def is_local(scope: Scope) -> bool:
    """Whether nothing shows that a request came from another machine.

    A proxy on this machine connects over loopback as a person does. It is known by the fields that it adds, by the address that it names,
    and by HTTP/1.0, which nginx before 1.29.7 speaks unless it is told otherwise. One that passes requests on unmarked is not known.
    """
    client = scope.get("client")
    return (
        serves_loopback(scope)
        and (client is None or is_loopback(client[0]))
        and scope["http_version"] != "1.0"
        and not any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name, _ in scope["headers"])
    )


class Hosts:
    """Refuses names that are not ours, and changes that other sites ask for.

    Args:
        app: the application behind.
        allowed: names that the service is reached by, beside loopback's own; empty: any name where connections are not loopback's.
        origins: other sites whose pages may use the service, such as `https://studio.example.org`.
    """

    def __init__(self, app: ASGIApp, *, allowed: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            problem = self._misdirected(scope, host) or self._foreign(scope["method"], host, headers.get("origin"))
            if problem is not None:
                await response(problem, instance=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _misdirected(self, scope: Scope, host: str) -> ProblemError | None:
        name = _name(host)
        if name in self._allowed or is_loopback(name) or scope["path"] in _PROBES:
            return None
        if not self._allowed and not serves_loopback(scope):
            return None
        return ProblemError(
            421,
            "the service is not known by this name",
            received=host or "no Host header",
            expected=", ".join(["localhost", "127.0.0.1", *sorted(self._allowed)]),
            fix="use one of these names; operators behind a proxy: add its name to AYS_ALLOWED_HOSTS",
        )

    def _foreign(self, method: str, host: str, origin: str | None) -> ProblemError | None:
        if method in READING or origin is None or origin in self._origins or urlsplit(origin).netloc == host:
            return None
        return ProblemError(
            403,
            "pages of other sites may not change anything here",
            received=origin,
            expected="a page of this service",
            fix="operators: add the origin to AYS_CORS_ORIGINS if that site is trusted",
        )


@lru_cache(maxsize=256)
def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
