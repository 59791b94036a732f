"""Where webhooks may go: anybody may name a URL, so none may lead to what only the service can reach.

A name is resolved when its message is sent, and every address that it has is looked at then; what can be told from the URL alone is told
to whoever submits it.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from re import compile as pattern
from typing import NamedTuple

import httpx2

from service.access.hosts import is_loopback

Network = IPv4Network | IPv6Network

_GLOBAL_6 = IPv6Network("2000::/3")
"""All that IANA has allocated for unicast; outside are loopback, link-local, unique local, multicast, IPv4-mapped, NAT64 and the rest."""

_SPECIAL: tuple[Network, ...] = (
    *map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4")),
    # IETF protocols with Teredo, documentation, 6to4, documentation.
    *map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")),
)
"""Beside those that `is_global` knows in every version of Python: RFC 6890 and its registry."""

_NAME = pattern(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


class Mistake(NamedTuple):
    """Why a URL is not one that messages go to."""

    detail: str
    received: str
    expected: str
    fix: str


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet: global unicast, and no way around to an IPv4 address."""
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and (address.version == 4 or address in _GLOBAL_6)


@dataclass(frozen=True)
class Reach:
    """What the operator lets webhooks reach.

    Args:
        networks: networks that are allowed though they are not public.
        http: whether unencrypted `http://` is allowed.
    """

    networks: tuple[Network, ...] = ()
    http: bool = False

    def permits(self, address: str) -> bool:
        """Whether messages may go to an address.

        Args:
            address: an IPv4 or IPv6 address, as `getaddrinfo` writes it.
        """
        found = ip_address(address)
        return is_public(found) or any(found in network for network in self.networks)

    def mistake(self, url: str) -> Mistake | None:
        """What is wrong with a URL, as far as it can be told without asking for its name; None for a good one.

        Args:
            url: the URL.
        """
        try:
            parts = httpx2.URL(url)
            well_formed = _well_formed(parts)
        except httpx2.InvalidURL:
            well_formed = False
        if not well_formed:
            return Mistake("the webhook is no URL", _shown(url), "https://, a host and a path", "correct the URL")
        if parts.userinfo:
            # Not the URL itself: problems are logged by those who get them.
            received, fix = "a URL with credentials", "put a secret into the path or the query, or rely on the signature"
            return Mistake("the webhook has a user or a password in it", received, "a URL without", fix)
        if parts.scheme == "http" and not self.http:
            fix = "use https; operators: AYS_WEBHOOK_HTTP=true allows http"
            return Mistake("the webhook is not encrypted", "http://", "https://", fix)
        if not self._may_be_permitted(parts.raw_host.decode()):
            fix = "use a host that the public internet reaches; operators: AYS_WEBHOOK_NETWORKS allows networks of your own"
            return Mistake("the webhook leads to an address that is not public", parts.host, "a public address", fix)
        return None

    def _may_be_permitted(self, host: str) -> bool:
        addresses = _written_out(host.rstrip("."))
        if is_loopback(host.rstrip(".")) and not addresses:
            return self.permits("127.0.0.1") or self.permits("::1")
        return all(self.permits(address) for address in addresses)


def host_of(url: str) -> str:
    """The host of a URL, which is all of it that is logged: the rest may be a secret of the receiver."""
    with suppress(httpx2.InvalidURL):
        return httpx2.URL(url).host
    return "?"


def _well_formed(parts: httpx2.URL) -> bool:
    host = parts.raw_host.decode()
    named = _NAME.fullmatch(host) is not None or bool(_written_out(host))
    return parts.scheme in {"http", "https"} and named and (parts.port is None or 0 < parts.port < 2**16)


def _written_out(host: str) -> list[str]:
    """The address that a host is written as; also in the old notations, such as 127.1 or 0x7f000001, that resolvers understand."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


def _shown(url: str) -> str:
    return url if "@" not in url else "a URL with credentials"
