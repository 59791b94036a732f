"""Writes PNG files (ISO/IEC 15948) without a library: 8 bits a channel, no filter, one image data chunk."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a picture.

    Args:
        pixels: shape (height, width, channels), channels 1 (grey) or 3 (red, green, blue).

    Raises:
        ValueError: another shape.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES:
        msg = f"received pixels of shape {pixels.shape}; expected (height, width, 1) or (height, width, 3)"
        raise ValueError(msg)
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    unfiltered = np.zeros((height, 1), dtype=np.uint8)
    lines = np.hstack([unfiltered, pixels.reshape(height, width * channels)])
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines.tobytes(), level=9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
