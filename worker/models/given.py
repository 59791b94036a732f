"""What an entry gives a network: its conditions, and clean samples for forward paths; what identifies each."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worker.models.conditions import Conditions, class_conditions, read_classes, read_embeddings
from worker.models.errors import ModelError
from worker.models.fingerprint import file_digest
from worker.models.prompts import prompts_of
from worker.models.reading import Reading
from worker.models.weights import encoder_files


def read_conditions(reading: Reading, precision: torch.dtype, device: torch.device) -> Conditions | None:
    """Conditions of an entry, encoded where they have to be, on the CPU; None where the network takes none.

    Args:
        reading: the pipeline.
        precision: of text encoders.
        device: where encoders run.

    Raises:
        ModelError: a file or an encoder is missing, or does not fit.
    """
    entry, adapter, where = reading.entry, reading.adapter, reading.folder.where
    if not adapter.needs:
        return None
    if adapter.classes:
        return class_conditions(where, None if entry.classes is None else read_classes(where, entry.classes), adapter)
    if entry.embeddings is not None:
        return read_embeddings(where, entry.embeddings, adapter, limit=reading.folder.limit)
    # Imported here, as below: it imports most of diffusers.
    from worker.models.encoding import encode_pictures, encode_prompts

    how: dict[str, Any] = {"variant": entry.variant, "device": device}
    if adapter.pictures is not None:
        return encode_pictures(reading.folder, adapter, _condition_images(reading), **how)
    return encode_prompts(reading.folder, adapter, prompts_of(entry), negative=entry.negative_prompt, precision=precision, **how)


def _condition_images(reading: Reading) -> list[Path]:
    from worker.models.data import image_files

    where, path = reading.folder.where, reading.entry.condition_images
    if path is None:
        fix = 'write condition_images = "folder", or embeddings = "conditions.safetensors"'
        raise ModelError.of(where, received="no condition_images", expected="images that videos begin with", fix=fix)
    return image_files(where, "condition_images", path)


def conditions_identity(reading: Reading) -> object:
    """What conditions depend on, as JSON: labels, hashes of files and of the encoders that see them."""
    entry, folder = reading.entry, reading.folder
    if reading.encoding is not None:
        names = sorted(name for name in folder.index if name.startswith(reading.encoding.components) and folder.has(name))
        encoders = [file_digest(path) for name in names for path in encoder_files(folder, name, entry.variant)[1]]
        if reading.adapter.pictures is not None:
            return {"images": [file_digest(path) for path in _condition_images(reading)], "encoders": encoders}
        return {"prompts": prompts_of(entry), "negative": entry.negative_prompt, "encoders": encoders}
    if entry.embeddings is not None:
        return file_digest(entry.embeddings)
    return None if entry.classes is None else read_classes(folder.where, entry.classes)


def read_samples(reading: Reading, device: torch.device) -> tuple[Tensor | None, object]:
    """Clean samples on the CPU, shape (n, *shape), and what they depend on; None twice where the entry names none.

    Raises:
        ModelError: a file or the autoencoder is missing, or does not fit.
    """
    entry, folder, adapter = reading.entry, reading.folder, reading.adapter
    if entry.latents is None and entry.images is None:
        return None, None
    from worker.models.data import encode_images, image_files, read_latents

    if entry.latents is not None:
        return read_latents(folder.where, entry.latents, adapter, limit=folder.limit), file_digest(entry.latents)
    assert entry.images is not None
    files = image_files(folder.where, "images", entry.images)
    encoder = [file_digest(path) for path in encoder_files(folder, "vae", entry.variant)[1]] if folder.has("vae") else []
    samples = encode_images(folder, adapter, files, variant=entry.variant, device=device)
    return samples, {"images": [file_digest(path) for path in files], "encoder": encoder}
