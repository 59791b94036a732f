"""The socket that the service listens on, taken before anything else starts."""

import socket


class ListenError(OSError):
    """The address cannot be listened on; the message says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Take an address for good: nobody else can listen on it from now on.

    Args:
        host: name or address; `::` takes the IPv4 addresses of this machine, too.
        port: the port; 0: any free one.

    Raises:
        ListenError: the port is taken or not allowed, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        taken = socket.socket(family, kind, protocol)
        try:
            # A port that only has connections winding down is free.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            taken.bind(address)
            # Bound alone it could still be taken by another that listens first.
            taken.listen(2048)
        except BaseException:
            taken.close()
            raise
    except OSError as error:
        msg = f"cannot listen on {host}:{port}: {error.strerror}. Choose another port with --port or AYS_PORT (0: any free one)"
        raise ListenError(msg) from error
    return taken
