"""The API key that a client sends."""

import os
import re
from collections.abc import Mapping

_SENDABLE = re.compile(r"[!-~]+")


def credentials(api_key: str | None) -> Mapping[str, str]:
    """The headers that carry an API key; none without a key.

    Args:
        api_key: the key; None: the one in the environment variable `AYS_API_KEY`, if there is one; '': none.

    Raises:
        ValueError: it is no API key.
    """
    key = (os.environ.get("AYS_API_KEY", "") if api_key is None else api_key).strip()
    if key and not _SENDABLE.fullmatch(key):
        # Not the value itself: it may be a secret of something else.
        msg = "received an API key with blanks or characters that no key has; expected one like ays_...; set AYS_API_KEY to the key alone"
        raise ValueError(msg)
    return {"Authorization": f"Bearer {key}"} if key else {}
