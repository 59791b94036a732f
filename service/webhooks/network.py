"""Connections that go to addresses which were looked at, and to no others.

The name is resolved once, and the connection is made to the very address that was checked: a name that changes its mind in between (DNS
rebinding) changes nothing. TLS still verifies the certificate against the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import httpcore2

from service.webhooks.reach import Reach

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host and a port, as `getaddrinfo` does."""

_TRIED_MAX = 4


class ForbiddenAddressError(Exception):
    """A name has an address that messages may not go to."""


class Resolver:
    """The system's resolver, in threads of its own: a name server that does not answer holds up nobody else.

    Args:
        threads: names that are asked for at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host.

        Raises:
            OSError: it has none, or they cannot be found out.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """A network that only reaches what it may.

    Args:
        reach: what it may reach.
        resolve: finds addresses.
    """

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of the addresses of a host, if messages may go to all of them.

        Raises:
            ForbiddenAddressError: there is one that they may not go to.
            OSError: the host has no address.
            httpcore2.NetworkError, httpcore2.TimeoutException: none of them takes the connection.
        """
        addresses = await self._resolve(host, port)
        forbidden = [address for address in addresses if not self._reach.permits(address)]
        if forbidden:
            msg = f"{host} has the address {forbidden[0]}, which is not public, nor allowed by AYS_WEBHOOK_NETWORKS"
            raise ForbiddenAddressError(msg)
        failure: Exception = OSError(f"{host} has no address")
        for address in addresses[:_TRIED_MAX]:
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> NoReturn:
        """Refuse: no URL leads to a socket of this machine.

        Raises:
            ForbiddenAddressError: always.
        """
        del timeout, socket_options
        msg = f"received the socket {path}, expected a host"
        raise ForbiddenAddressError(msg)
