"""Clean samples for forward paths: latents from a file, or a folder of images through the pipeline's autoencoder."""

import gc
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worker.models.errors import ModelError
from worker.models.families.adapter import Adapter
from worker.models.folder import PipelineFolder

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_AUTOENCODERS = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny", "VQModel")


def read_latents(where: str, path: Path, adapter: Adapter) -> Tensor:
    """Read the tensor `latents` of a safetensors file.

    Returns:
        Shape (n, *shape), float32, in the units that the network sees: scaled and shifted.

    Raises:
        ModelError: the file cannot be read or does not fit the model.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        fix = "correct `latents` in the models file"
        raise ModelError.of(where, received=f"{path} ({error})", expected="a safetensors file", fix=fix) from error
    latents = tensors.get("latents")
    if latents is None or latents.shape[1:] != adapter.shape or len(latents) == 0 or not bool(torch.isfinite(latents).all()):
        received = f"tensors { {name: tuple(tensor.shape) for name, tensor in tensors.items()} } in {path}"
        expected = f"`latents` of shape (n, {', '.join(map(str, adapter.shape))}), finite"
        raise ModelError.of(where, received=received, expected=expected, fix="encode data at the height, width and frames of the entry")
    return latents.float()


def image_files(where: str, folder: Path) -> list[Path]:
    """Images of a folder, in the order of their names.

    Raises:
        ModelError: there are none.
    """
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
    if not found:
        expected, fix = "a folder of images (" + ", ".join(sorted(_SUFFIXES)) + ")", "correct `images` in the models file"
        raise ModelError.of(where, received=f"{folder} without images", expected=expected, fix=fix)
    return found


def read_images(where: str, files: list[Path], *, channels: int, height: int, width: int) -> Tensor:
    """Read images, cut to the middle and scaled.

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
        try:
            with Image.open(file) as image:
                upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
                fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            fix = "remove it from the folder"
            raise ModelError.of(where, received=f"{file.name} ({error})", expected="an image", fix=fix) from error
        pixels = torch.from_numpy(np.asarray(fitted, dtype=np.float32)).reshape(height, width, channels)
        images.append(pixels.permute(2, 0, 1) / 127.5 - 1)
    return torch.stack(images)


def encode_images(folder: PipelineFolder, adapter: Adapter, files: list[Path], *, device: torch.device) -> Tensor:
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
    vae = _load_vae(folder, config["_class_name"], device)
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


def _load_vae(folder: PipelineFolder, name: str, device: torch.device) -> Any:
    variant, _ = folder.weights("vae")
    try:
        vae = getattr(diffusers, name).from_pretrained(
            folder.path, subfolder="vae", variant=variant, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
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
