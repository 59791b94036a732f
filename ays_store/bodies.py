"""Bodies as they are stored: JSON, compressed with zlib."""

import zlib

from ays_store.damage import DamagedError, Place

LARGEST = 64 << 20
"""Most bytes of a body when it is unpacked; the largest profile (G = 256) has some 10 MB."""


def pack(body: str) -> bytes:
    """Returns a body as it is stored."""
    return zlib.compress(body.encode(), level=6)


def unpack(raw: bytes, place: Place) -> bytes:
    """Returns the JSON of a stored body.

    Args:
        raw: As it is stored.
        place: Where it is.

    Raises:
        DamagedError: It is not what `pack` makes, or has more than 64 MiB.
    """
    reader = zlib.decompressobj()
    try:
        body = reader.decompress(raw, LARGEST)
    except zlib.error as error:
        raise DamagedError(place, received=str(error)[:80], expected="a body compressed by zlib") from None
    if not reader.eof:
        raise DamagedError(place, received="a body that is cut off, or too large", expected=f"a whole one of at most {LARGEST} bytes")
    return body
