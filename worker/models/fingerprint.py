"""Identity of a model: equal fingerprints mean equal denoisers, so that a profile is never served for other weights.

A pipeline is identified by the bytes of its weights and by all that D depends on beside them. A factory's weights cannot be seen,
so it is identified by its name, its arguments and what it answers on a fixed batch, rounded so that another processor's rounding
errors do not make it another model.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import Denoiser

_PROBE_BATCH, _PROJECTIONS, _QUANTUM = 4, 8, 1e-3

_files: dict[tuple[Path, int, int], str] = {}


def digest(parts: Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON of named parts, 64 hex digits."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; read again only when its size or modification time has changed."""
    status = path.stat()
    key = (path.resolve(), status.st_size, status.st_mtime_ns)
    if key not in _files:
        with path.open("rb") as file:
            _files[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _files[key]


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape and float32 values, 64 hex digits."""
    values = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return hashlib.sha256(repr(values.shape).encode() + values.astype("<f4").tobytes()).hexdigest()


def behaviour(denoiser: Denoiser) -> list[int]:
    """What a denoiser answers on a fixed batch, projected on a few random directions and rounded to a thousandth of its size.

    Args:
        denoiser: a denoiser whose answers are finite; it is evaluated at four samples.

    Returns:
        Whole numbers, equal for equal denoisers on any processor (but for a chance of about 1 % to sit on a rounding edge).
    """
    generator = torch.Generator().manual_seed(0)
    levels = np.geomspace(denoiser.sigma_min, denoiser.sigma_max, _PROBE_BATCH)
    sigma = torch.from_numpy(levels).to(dtype=denoiser.dtype, device=denoiser.device)
    noise = torch.randn(_PROBE_BATCH, *denoiser.shape, generator=generator, dtype=torch.float64)
    x = (noise * torch.from_numpy(levels).view(-1, *[1] * len(denoiser.shape))).to(sigma)
    with torch.inference_mode():
        estimate = denoiser.denoise(x, sigma).double().cpu().flatten()
    directions = torch.randn(_PROJECTIONS, len(estimate), generator=generator, dtype=torch.float64)
    values = (directions @ estimate).tolist()
    size = 2.0 ** round(math.log2(max(max(abs(value) for value in values), 1e-300)))
    return [round(value / (size * _QUANTUM)) for value in values]
