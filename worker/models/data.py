"""Clean samples for forward paths: latents from a file, or a folder of images through the pipeline's autoencoder."""

import gc
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors import SafetensorError
from torch import Tensor

from worker.models.errors import ModelError
from worker.models.families.adapter import Adapter
from worker.models.folder import PipelineFolder
from worker.models.safetensors_file import read_tensors
from worker.models.weights import encoder_files

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_AUTOENCODERS = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny", "VQModel")


def read_latents(where: str, path: Path, adapter: Adapter, *, limit: int) -> Tensor:
    """Read the tensor `latents` of a safetensors file of at most `limit` bytes.

    Returns:
        Shape (n, *shape), float32, in the units that the network sees: scaled and shifted.

    Raises:
        ModelError: the file cannot be read or does not fit the model.
    """
    tensors = read_tensors(where, "latents", path, limit=limit)
    latents = tensors.get("latents")
    if latents is None or latents.shape[1:] != adapter.shape or len(latents) == 0 or not bool(torch.isfinite(latents).all()):
        received = f"tensors { {name: tuple(tensor.shape) for name, tensor in tensors.items()} } in {path}"
        expected = f"`latents` of shape (n, {', '.join(map(str, adapter.shape))}), finite"
        raise ModelError.of(where, received=received, expected=expected, fix="encode data at the height, width and frames of the entry")
    return latents.float()


def image_files(where: str, key: str, path: Path) -> list[Path]:
    """One image, or those of a folder in the order of their names.

    Args:
        where: subject of messages.
        key: its key in the models file.
        path: the image or the folder.

    Raises:
        ModelError: there are none, or one is a link out of the folder.
    """
    inside = [path] if path.is_file() else list(path.glob("*")) if path.is_dir() else []
    found = sorted(file for file in inside if file.suffix.lower() in _SUFFIXES and file.is_file())
    if not found:
        expected, fix = "a folder of images (" + ", ".join(sorted(_SUFFIXES)) + ")", f"correct `{key}` in the models file"
        raise ModelError.of(where, received=f"{path} without images", expected=expected, fix=fix)
    for file in found if path.is_dir() else ():
        if not file.resolve().is_relative_to(path.resolve()):
            fix = "copy the folder with its links followed (cp -rL) and name the copy"
            raise ModelError.of(where, received=f"{file.name}, a link out of the folder", expected="an image inside the folder", fix=fix)
    return found


def read_image(where: str, file: Path, *, channels: int, height: int, width: int) -> Image.Image:
    """Read an image, upright, cut to the middle and scaled.

    Args:
        where: subject of messages.
        file: the image.
        channels: 1 (grey) or 3.
        height: wanted height in pixels.
        width: wanted width.

    Raises:
        ModelError: the file is no image.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            return ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ModelError.of(where, received=f"{file.name} ({error})", expected="an image", fix="remove or replace it") from error


def read_images(where: str, files: list[Path], *, channels: int, height: int, width: int) -> Tensor:
    """Read images as samples.

    Args:
        where: subject of messages.
        files: the images.
        channels: 1 (grey) or 3.
        height: wanted height in pixels.
        width: wanted width.

    Returns:
        Shape (n, channels, height, width), float32, in [-1, 1].

    Raises:
        ModelError: a file is no image.
    """
    images = []
    for file in files:
        fitted = read_image(where, file, channels=channels, height=height, width=width)
        pixels = torch.from_numpy(np.asarray(fitted, dtype=np.float32)).reshape(height, width, channels)
        images.append(pixels.permute(2, 0, 1) / 127.5 - 1)
    return torch.stack(images)


def encode_images(folder: PipelineFolder, adapter: Adapter, files: list[Path], *, variant: str | None, device: torch.device) -> Tensor:
    """Turn images into samples of the model: pixels as they are, or latents `(z - shift_factor) * scaling_factor`.

    The autoencoder is loaded in float32, draws its latents from the posterior with a fixed seed, and is let go of.

    Returns:
        Shape (n, *shape), float32, CPU.

    Raises:
        ModelError: the pipeline's autoencoder is none for images, or its weights do not load.
    """
    channels, height, width = adapter.shape if len(adapter.shape) == 3 else (0, 0, 0)
    if not folder.has("vae"):
        if channels not in {1, 3}:
            received = f"samples of shape {adapter.shape} and no autoencoder"
            fix = "give samples as a safetensors file: latents"
            raise ModelError.of(folder.where, received=received, expected="samples that are images", fix=fix)
        return read_images(folder.where, files, channels=channels, height=height, width=width)
    config = folder.config("vae")
    if config.get("_class_name") not in _AUTOENCODERS or not channels:
        received, expected = f"a {config.get('_class_name')}", "an autoencoder of images, one of " + ", ".join(_AUTOENCODERS)
        raise ModelError.of(folder.where, received=received, expected=expected, fix="encode the data yourself and give it as latents")
    vae = _load_vae(folder, config["_class_name"], variant, device)
    factor = _factor(vae, config)
    shift, scale = config.get("shift_factor") or 0.0, config.get("scaling_factor") or 1.0
    generator = torch.Generator().manual_seed(0)
    latents = []
    with torch.inference_mode():
        for file in files:
            sizes = {"channels": config.get("in_channels", 3), "height": height * factor, "width": width * factor}
            pixels = read_images(folder.where, [file], **sizes)
            latents.append((_posterior(vae.encode(pixels.to(device)), generator) - shift) * scale)
    del vae
    gc.collect()
    encoded = torch.cat(latents)
    if encoded.shape[1:] != adapter.shape:
        received = f"latents of shape {tuple(encoded.shape[1:])}"
        expected = f"shape {adapter.shape}"
        raise ModelError.of(folder.where, received=received, expected=expected, fix="check the pipeline's vae, or give latents")
    return encoded


def _load_vae(folder: PipelineFolder, name: str, variant: str | None, device: torch.device) -> Any:
    variant, _ = encoder_files(folder, "vae", variant)
    try:
        vae = getattr(diffusers, name).from_pretrained(
            folder.path, subfolder="vae", variant=variant, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, SafetensorError) as error:
        received = f"an autoencoder that does not load ({type(error).__name__}: {str(error).splitlines()[0]})"
        raise ModelError.of(folder.where, received=received, expected="vae/ in safetensors", fix="save the pipeline again") from error
    return vae.eval().requires_grad_(False).to(device)


def _factor(vae: Any, config: dict[str, Any]) -> int:
    blocks = config.get("block_out_channels") or config.get("encoder_block_out_channels") or [0]
    return int(getattr(vae, "spatial_compression_ratio", 0) or 2 ** (len(blocks) - 1))


def _posterior(encoded: Any, generator: torch.Generator) -> Tensor:
    """A draw from the posterior on the CPU, so that a GPU's generator does not make it another one."""
    distribution = getattr(encoded, "latent_dist", None)
    if distribution is None:
        latent: Tensor = encoded.latent if hasattr(encoded, "latent") else encoded.latents
        return latent.float().cpu()
    mean, deviation = distribution.mean.float().cpu(), distribution.std.float().cpu()
    return mean + deviation * torch.randn(mean.shape, generator=generator)
