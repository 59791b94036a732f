"""The client of a command."""

from ays_client import Client
from service.cli.exits import CommandError, ExitCode


def connect(url: str) -> Client:
    """Make a client of the service.

    Args:
        url: address of the service, as the user typed it.

    Raises:
        CommandError: it is no address.
    """
    try:
        return Client(url)
    except ValueError as error:
        message = f"{error}; set it with --url or AYS_URL"
        raise CommandError(message, ExitCode.BAD_INPUT) from None
