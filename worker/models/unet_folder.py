"""A diffusers folder with an unconditional `UNet2DModel`: read, checked, loaded.

Local safetensors files only: a `.bin` file is a pickle, which runs code when it is opened. A file that leads out of the folder
through a symbolic link is refused, so that a folder from elsewhere cannot make us read what it does not hold.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from safetensors import SafetensorError

from worker.models.errors import ModelError
from worker.models.training import Training, read_training

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
_NETWORK, _SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"


@dataclass(frozen=True, kw_only=True)
class UNetFolder:
    """A checked folder; nothing but its two configuration files has been read.

    Attributes:
        where: subject of messages, such as `model 'x'`.
        path: the folder.
        network: `unet/config.json`.
        training: `scheduler/scheduler_config.json`, understood.
        shape: (channels, height, width) of a sample.
    """

    where: str
    path: Path
    network: dict[str, Any]
    training: Training
    shape: tuple[int, int, int]

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.path / WEIGHTS

    def load(self, device: torch.device) -> UNet2DModel:
        """Load the network in float32 for evaluation.

        Args:
            device: where it is evaluated.

        Raises:
            ModelError: the weights are damaged or do not fit the configuration.
        """
        try:
            net: UNet2DModel = UNet2DModel.from_pretrained(
                self.path / "unet",
                local_files_only=True,
                use_safetensors=True,
                low_cpu_mem_usage=False,
                ignore_mismatched_sizes=False,
                torch_dtype=torch.float32,
            )
        except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            received = f"weights that do not load ({type(error).__name__}: {str(error).splitlines()[0]})"
            fix = "save the pipeline again with save_pretrained(..., safe_serialization=True)"
            raise ModelError.of(self.where, received=received, expected=f"{WEIGHTS} that fits unet/config.json", fix=fix) from error
        net.eval().requires_grad_(False).to(device)
        return net


def read_unet_folder(where: str, path: Path) -> UNetFolder:
    """Read and check a folder without loading its weights.

    Args:
        where: subject of messages.
        path: the folder.

    Raises:
        ModelError: it is no folder of this family, or one of its files is missing, unsafe or malformed.
    """
    if not path.is_dir():
        fix = "correct `path` in the models file; nothing is ever downloaded"
        raise ModelError.of(where, received=f"path {path}", expected="a local diffusers folder", fix=fix)
    network, scheduler = _config(where, path, _NETWORK), _config(where, path, _SCHEDULER)
    _check_weights(where, path)
    _check_network(where, network)
    return UNetFolder(
        where=where,
        path=path,
        network=network,
        training=read_training(where, scheduler),
        shape=_shape(where, network),
    )


def _inside(where: str, path: Path, name: str) -> Path:
    """Path of a file of the folder, refused when it leads out of it."""
    if not (path / name).resolve().is_relative_to(path.resolve()):
        fix = "copy the folder with its links followed (cp -rL) and name the copy"
        raise ModelError.of(where, received=f"{name}, a link out of the folder", expected="a file inside the folder", fix=fix)
    return path / name


def _config(where: str, path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(_inside(where, path, name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        fix = "save the whole pipeline with save_pretrained"
        raise ModelError.of(where, received=f"no readable {name} ({error})", expected="a diffusers folder", fix=fix) from error
    if not isinstance(config, dict):
        raise ModelError.of(where, received=f"{name} that is no object", expected="a JSON object", fix="save the pipeline again")
    return config


def _check_weights(where: str, path: Path) -> None:
    if _inside(where, path, WEIGHTS).is_file():
        return
    pickled = sorted(file.name for file in (path / "unet").glob("*.bin"))
    received = f"{pickled[0]}, a pickle that would run code when opened" if pickled else f"no {WEIGHTS}"
    fix = "open it once where you trust it and call save_pretrained(folder, safe_serialization=True)"
    raise ModelError.of(where, received=received, expected=f"{WEIGHTS} in one piece", fix=fix)


def _check_network(where: str, network: dict[str, Any]) -> None:
    kind = network.get("_class_name")
    if kind != "UNet2DModel":
        fix = 'bring other networks as a factory (kind = "factory")'
        raise ModelError.of(where, received=f"a {kind}", expected="an unconditional UNet2DModel", fix=fix)
    if network.get("num_class_embeds") is not None or network.get("class_embed_type") is not None:
        fix = "bring it as a factory that fixes the class"
        raise ModelError.of(where, received="a class-conditional network", expected="an unconditional one", fix=fix)
    into, out = network.get("in_channels", 3), network.get("out_channels", 3)
    if out not in {into, 2 * into}:
        fix = "bring it as a factory that returns the estimate of x_0 alone"
        expected = "as many out as in, or twice as many (a learned variance)"
        raise ModelError.of(where, received=f"{into} channels in, {out} out", expected=expected, fix=fix)


def _shape(where: str, network: dict[str, Any]) -> tuple[int, int, int]:
    channels, size = network.get("in_channels", 3), network.get("sample_size")
    sides = [size, size] if isinstance(size, int) else size
    if not (isinstance(sides, list) and len(sides) == 2 and all(isinstance(n, int) and n > 0 for n in [*sides, channels])):
        received = f"sample_size {size!r} and in_channels {channels!r}"
        fix = "write sample_size into unet/config.json"
        raise ModelError.of(where, received=received, expected="positive whole numbers", fix=fix)
    return (channels, *sides)
