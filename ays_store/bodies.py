"""Bodies as they are stored: JSON, compressed with zlib."""

import zlib


def pack(body: str) -> bytes:
    """Returns a body as it is stored."""
    return zlib.compress(body.encode(), level=6)


def unpack(raw: bytes) -> bytes:
    """Returns the JSON of a stored body."""
    return zlib.decompress(raw)
