"""Secrets from files: `AYS_<NAME>_FILE` names a file that holds what `AYS_<NAME>` would, as secrets of containers are mounted."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

SUFFIX = "_FILE"
"""What follows the name of a variable whose value is in a file."""

_LARGEST = 64 * 1024


class SecretFileError(ValueError):
    """A secret cannot be read from its file; the message is a line that begins with the name of the variable."""


def secret_of(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The value of a variable that may be in a file, without the line end that editors append.

    Args:
        name: the variable, without the suffix.
        environment: the variables.

    Returns:
        None when neither is set; an empty one is not.

    Raises:
        SecretFileError: both are set, or the file is not one line of UTF-8 text.
    """
    value, path = environment.get(name), environment.get(name + SUFFIX)
    if not path:
        return value or None
    if value:
        _fail(name, f"a file, and {name} as well", "one of the two; unset the other")
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_LARGEST + 1)
        found = raw.decode()
    except OSError as error:
        _fail(name, f"{path!r} ({error.strerror})", "a file that this process may read; mount it, or correct the path", error)
    except ValueError as error:
        _fail(name, f"a file that is no text ({path!r})", "one that holds the secret in UTF-8", error)
    # Never the content itself, nor a part of it.
    words = found.strip()
    if not words or len(raw) > _LARGEST or len(words.splitlines()) > 1:
        _fail(name, f"{path!r}, which is empty, or more than one line", "a file that holds the secret alone")
    return words


def _fail(name: str, received: str, expected: str, cause: Exception | None = None) -> NoReturn:
    msg = f"{name}{SUFFIX}: received {received}; expected {expected}"
    raise SecretFileError(msg) from cause
