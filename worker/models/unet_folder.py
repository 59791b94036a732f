"""A diffusers folder with an unconditional `UNet2DModel` on a DDPM-type noise schedule: read, checked, loaded.

Local safetensors files only: a `.bin` file is a pickle, which runs code when it is opened. A file that leads out of the folder
through a symbolic link is refused, so that a folder from elsewhere cannot make us read what it does not hold.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from diffusers import UNet2DModel
from numpy.typing import ArrayLike
from safetensors import SafetensorError

from worker.ays.noise import VP, cosine_betas, linear_betas, scaled_linear_betas
from worker.models.errors import ModelError
from worker.models.pipeline_denoiser import Prediction

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
_NETWORK, _SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")


@dataclass(frozen=True, kw_only=True)
class UNetFolder:
    """A checked folder; nothing but its two configuration files has been read.

    Attributes:
        where: subject of messages, such as `model 'x'`.
        path: the folder.
        network: `unet/config.json`.
        scheduler: `scheduler/scheduler_config.json`.
        shape: (channels, height, width) of a sample.
        process: the noise process of training.
        prediction: what the network predicts.
    """

    where: str
    path: Path
    network: dict[str, Any]
    scheduler: dict[str, Any]
    shape: tuple[int, int, int]
    process: VP
    prediction: Prediction

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
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in get_args(Prediction):
        expected = "one of " + ", ".join(get_args(Prediction))
        fix = "correct scheduler_config.json to what the network was trained to predict"
        raise ModelError.of(where, received=f"prediction_type {prediction!r}", expected=expected, fix=fix)
    return UNetFolder(
        where=where,
        path=path,
        network=network,
        scheduler=scheduler,
        shape=_shape(where, network),
        process=_process(where, scheduler),
        prediction=prediction,
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
    if network.get("in_channels", 3) != network.get("out_channels", 3):
        received = f"{network.get('in_channels')} channels in, {network.get('out_channels')} out"
        fix = "bring it as a factory that returns the estimate of x_0 alone"
        raise ModelError.of(where, received=received, expected="as many out as in", fix=fix)


def _shape(where: str, network: dict[str, Any]) -> tuple[int, int, int]:
    channels, size = network.get("in_channels", 3), network.get("sample_size")
    sides = [size, size] if isinstance(size, int) else size
    if not (isinstance(sides, list) and len(sides) == 2 and all(isinstance(n, int) and n > 0 for n in [*sides, channels])):
        received = f"sample_size {size!r} and in_channels {channels!r}"
        fix = "write sample_size into unet/config.json"
        raise ModelError.of(where, received=received, expected="positive whole numbers", fix=fix)
    return (channels, *sides)


def _process(where: str, scheduler: dict[str, Any]) -> VP:
    kind = scheduler.get("_class_name")
    if kind not in _SCHEDULERS:
        expected = " or ".join(_SCHEDULERS) + ", the noise schedule of training"
        fix = "save the pipeline with the scheduler it was trained with"
        raise ModelError.of(where, received=f"a {kind}", expected=expected, fix=fix)
    if scheduler.get("rescale_betas_zero_snr"):
        fix = "bring it as a factory with a finite sigma_max"
        raise ModelError.of(where, received="rescale_betas_zero_snr", expected="a finite largest noise level", fix=fix)
    try:
        return VP(_betas(where, scheduler))
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        received = f"a noise schedule that cannot be ({error})"
        raise ModelError.of(where, received=received, expected="betas in (0, 1]", fix="correct scheduler_config.json") from error


def _betas(where: str, scheduler: dict[str, Any]) -> ArrayLike:
    trained: list[float] | None = scheduler.get("trained_betas")
    if trained is not None:
        return trained
    steps = scheduler.get("num_train_timesteps", 1000)
    start, end = scheduler.get("beta_start", 1e-4), scheduler.get("beta_end", 0.02)
    match scheduler.get("beta_schedule", "linear"):
        case "linear":
            return linear_betas(steps, start=start, end=end)
        case "scaled_linear":
            return scaled_linear_betas(steps, start=start, end=end)
        case "squaredcos_cap_v2":
            return cosine_betas(steps)
        case other:
            expected, fix = "linear, scaled_linear or squaredcos_cap_v2", "write the table as trained_betas"
            raise ModelError.of(where, received=f"beta_schedule {other!r}", expected=expected, fix=fix)
