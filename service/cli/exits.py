"""How a command ends: one clear line on standard error, and a status that says whose turn it is."""

import sys
from collections.abc import Callable
from enum import IntEnum

from pydantic import ValidationError
from typer.exceptions import Abort, TyperException

from ays_client import AccessDenied, JobFailed, ServiceError, Unavailable
from ays_process.environment import ConfigurationError
from service.local.embedded_redis import EmbeddedRedisError
from service.local.stack import StackError


class ExitCode(IntEnum):
    """Status of a command."""

    OK = 0
    UNHEALTHY = 1
    """`ays doctor` has found something that does not work."""
    BAD_INPUT = 2
    """The command cannot be done as it was given: change it."""
    SERVICE_AWAY = 3
    """The service, or what it needs, does not answer or cannot start: try again later."""
    JOB_FAILED = 4
    """The job ended without a schedule."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CommandError(Exception):
    """A command cannot be done.

    Args:
        message: what was received, what is expected, how to fix it.
        code: status of the command.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def ending(run: Callable[[], object]) -> int:
    """Run a command and turn whatever ends it into its exit status, with one line on standard error.

    Args:
        run: the command.
    """
    try:
        result = run()
    except (KeyboardInterrupt, Abort):
        return _say("interrupted", ExitCode.INTERRUPTED)
    except CommandError as error:
        return _say(str(error), error.code)
    except ConfigurationError as error:
        return _say(str(error), ExitCode.BAD_INPUT)
    except ValidationError as error:
        return _say(first_mistake(error), ExitCode.BAD_INPUT)
    except TyperException as error:
        return _say(getattr(error, "format_message", error.__str__)(), ExitCode.BAD_INPUT)
    except JobFailed as error:
        return _say(str(error), ExitCode.JOB_FAILED)
    except (Unavailable, EmbeddedRedisError, StackError, TimeoutError) as error:
        return _say(str(error), ExitCode.SERVICE_AWAY)
    except AccessDenied as error:
        return _say(f"{error}; `ays` sends the key that AYS_API_KEY holds", ExitCode.BAD_INPUT)
    except ServiceError as error:
        return _say(str(error), ExitCode.BAD_INPUT)
    if result == ExitCode.INTERRUPTED:  # typer turns Ctrl-C into this status itself
        return _say("interrupted", ExitCode.INTERRUPTED)
    return result if isinstance(result, int) else ExitCode.OK


def first_mistake(error: ValidationError) -> str:
    """The first field that is wrong: where, what was received, what is expected."""
    mistakes = error.errors(include_url=False)
    where = mistakes[0]["loc"][:1]
    # A field that may be one of several types has a mistake for each; the last one is the most general.
    mistake = [each for each in mistakes if each["loc"][:1] == where][-1]
    message = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{where[0]}: {message}; received {mistake['input']!r}" if where else message


def _say(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
