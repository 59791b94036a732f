"""Signatures of Standard Webhooks, version 1: HMAC-SHA256 of `id.timestamp.body`, one for each secret."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, SecretBytes
from pydantic_settings import NoDecode

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64


def _secrets(value: object) -> object:
    return tuple(_secret(word) for word in value.replace(",", " ").split()) if isinstance(value, str) else value


def _secret(word: str) -> bytes:
    # Never the word itself in a message.
    try:
        key = base64.b64decode(word.removeprefix(_PREFIX), validate=True) if word.startswith(_PREFIX) else b""
    except binascii.Error:
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        expected = f"expected whsec_ and {_SHORTEST} to {_LONGEST} random bytes in base64; several are separated by spaces"
        msg = f"{expected}; make one with: echo whsec_$(openssl rand -base64 32)"
        raise ValueError(msg)
    return key


Secrets = Annotated[tuple[SecretBytes, ...], NoDecode, BeforeValidator(_secrets)]
"""Secrets that sign; several while one replaces another, so that receivers can change over in their own time."""


def signature(secrets: Sequence[SecretBytes], *, message: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`.

    Args:
        secrets: one or more.
        message: id of the message.
        timestamp: time of this try, seconds since 1970.
        body: the body as it is sent.
    """
    signed = b".".join([message.encode(), str(timestamp).encode(), body])
    digests = [hmac.digest(secret.get_secret_value(), signed, "sha256") for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
