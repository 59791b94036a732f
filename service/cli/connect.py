"""The client of a command."""

from ays_client import Client
from service.cli.exits import CommandError, ExitCode


def connect(url: str) -> Client:
    """Make a client of the service.

    Args:
        url: address of the service, as the user typed it.

    Raises:
        CommandError: it is no address, or the key in AYS_API_KEY is none.
    """
    try:
        return Client(url)
    except ValueError as error:
        message = f"{error}; --url or AYS_URL is the address, AYS_API_KEY the key"
        raise CommandError(message, ExitCode.BAD_INPUT) from None
