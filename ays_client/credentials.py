"""The API key that a client sends."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

_SENDABLE = re.compile(r"[!-~]+")
_LARGEST = 4096


def credentials(api_key: str | None) -> Mapping[str, str]:
    """The headers that carry an API key; none without a key.

    Args:
        api_key: the key; None: the one in the environment variable `AYS_API_KEY`, or in the file that `AYS_API_KEY_FILE` names, if there
            is one; '': none.

    Raises:
        ValueError: it is no API key, or its file cannot be read.
    """
    key = (_of_environment() if api_key is None else api_key).strip()
    if key and not _SENDABLE.fullmatch(key):
        # Not the value itself: it may be a secret of something else.
        msg = "received an API key with blanks or characters that no key has; expected one like ays_...; set AYS_API_KEY to the key alone"
        raise ValueError(msg)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _of_environment() -> str:
    key, path = os.environ.get("AYS_API_KEY", ""), os.environ.get("AYS_API_KEY_FILE")
    if key or not path:
        return key
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST).decode("ascii")
    except (OSError, ValueError) as error:
        msg = f"received AYS_API_KEY_FILE={path!r}, which cannot be read ({type(error).__name__}); expected a file that holds the key alone"
        raise ValueError(msg) from None
