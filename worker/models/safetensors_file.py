"""A safetensors file, checked before anything in it is believed.

    8 bytes: n, little-endian | n bytes: JSON {name: {dtype, shape, data_offsets}} | the tensors, one after the other

A length that a file merely claims must never decide how much memory is taken, and a file that is too large is refused before it is
hashed (https://huggingface.co/docs/safetensors).
"""

import itertools
import json
import os
import stat
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worker.models.errors import ModelError
from worker.models.limits import LARGEST_HEADER

_LENGTH = 8
_SAVE = "save the weights again with safetensors"


def check_size(where: str, name: str, size: int, limit: int) -> None:
    """Refuse weights that are larger than the operator allows.

    Args:
        where: subject of messages.
        name: of the component or file.
        size: of its weights, in bytes.
        limit: the largest allowed.

    Raises:
        ModelError: they are.
    """
    if size > limit:
        fix = "set AYS_MODEL_MAX_BYTES of the worker to more, if the machine has the memory"
        raise ModelError.of(where, received=f"{size:,} bytes of weights in {name}", expected=f"at most {limit:,}", fix=fix)


def check_safetensors(where: str, name: str, path: Path) -> None:
    """Check the header of a file against the file's size; no tensor is read.

    Args:
        where: subject of messages.
        name: of the file, for messages.
        path: the file.

    Raises:
        ModelError: it is no regular file, or not what its header says.
    """
    try:
        status = path.stat()
        fault = _fault(path, status.st_size) if stat.S_ISREG(status.st_mode) else "no regular file"
    except (OSError, ValueError, RecursionError) as error:
        fault = str(error)
    if fault:
        raise ModelError.of(where, received=f"{name}: {fault}", expected="a whole safetensors file", fix=_SAVE)


def _fault(path: Path, size: int) -> str:
    """What is wrong with a file, empty where nothing is."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if size < _LENGTH or not 2 <= length <= min(LARGEST_HEADER, size - _LENGTH):
            return f"a header of {length:,} bytes in a file of {size:,}"
        header = json.loads(file.read(length))
    tensors = [entry for name, entry in header.items() if name != "__metadata__"] if isinstance(header, dict) else [None]
    spans = [entry.get("data_offsets") if isinstance(entry, dict) else None for entry in tensors]
    pairs = [(span[0], span[1]) for span in spans if isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)]
    if len(pairs) < len(spans):
        return "a header without the places of its tensors"
    ends = [0, *itertools.chain(*sorted(pairs)), size - _LENGTH - length]
    # Begin, end, begin, end ...: each tensor begins where the one before it ends, and the last one ends with the file.
    if any(a != b for a, b in zip(ends[::2], ends[1::2], strict=True)) or any(a > b for a, b in pairs):
        return "tensors that overlap, or do not fill the file"
    return ""


def read_tensors(where: str, key: str, path: Path, *, limit: int) -> dict[str, Tensor]:
    """Read a safetensors file that the models file names.

    Args:
        where: subject of messages.
        key: its key in the models file.
        path: the file.
        limit: the largest size allowed, in bytes.

    Raises:
        ModelError: it is missing, too large, damaged, or something else.
    """
    try:
        check_size(where, path.name, os.stat(path).st_size, limit)
        check_safetensors(where, path.name, path)
        return load_file(path)
    except (OSError, SafetensorError) as error:
        expected, fix = "a safetensors file", f"correct `{key}` in the models file"
        raise ModelError.of(where, received=f"{path} ({error})", expected=expected, fix=fix) from error
