"""Loading the denoising network of a folder: once, into one copy, ready for evaluation."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError

from worker.models.compiled import CompiledNetwork
from worker.models.errors import ModelError
from worker.models.folder import PipelineFolder

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def best_device() -> torch.device:
    """The GPU that this process sees, else the CPU. One process serves one GPU: `CUDA_VISIBLE_DEVICES` says which."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_network(
    folder: PipelineFolder, *, variant: str | None, precision: torch.dtype, device: torch.device, backend: str | None = None
) -> Any:
    """Load the network for evaluation.

    The weights are mapped from their files and replace parameters that never had memory of their own, so that there is one copy.

    Args:
        folder: the pipeline.
        variant: of the weights' file names.
        precision: of its parameters; those that its class keeps in float32 stay so.
        device: where it is evaluated.
        backend: of `torch.compile`, by which it is compiled on its first call; None: it is not.

    Raises:
        ModelError: the weights are damaged or do not fit the configuration.
    """
    network_class = getattr(diffusers, folder.config(folder.network)["_class_name"])
    try:
        with _only_errors():
            net, loading = network_class.from_pretrained(
                folder.path,
                subfolder=folder.network or None,
                variant=variant,
                local_files_only=True,
                use_safetensors=True,
                low_cpu_mem_usage=True,
                ignore_mismatched_sizes=False,
                torch_dtype=precision,
                output_loading_info=True,
            )
        if loading["missing_keys"]:
            msg = f"no weights for {loading['missing_keys'][0]}"
            raise ValueError(msg)  # noqa: TRY301 (told together with what diffusers itself finds wrong)
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, SafetensorError) as error:
        received = f"weights that do not load ({type(error).__name__}: {str(error).splitlines()[0]})"
        fix = "save the pipeline again with save_pretrained(..., safe_serialization=True)"
        raise ModelError.of(folder.where, received=received, expected="weights that fit config.json", fix=fix) from error
    net.eval().requires_grad_(False).to(device)
    if device.type == "cuda":
        to_channels_last(net)
    return net if backend is None else CompiledNetwork(net, where=folder.where, backend=backend)


def to_channels_last(net: Any) -> None:
    """Lay out the weights of a network of 2-D convolutions as a GPU's tensor cores want them; others are left alone."""
    if isinstance(net, diffusers.UNet2DModel | diffusers.UNet2DConditionModel):
        net.to(memory_format=torch.channels_last)


@contextlib.contextmanager
def _only_errors() -> Iterator[None]:
    """Silence diffusers' remarks about names of weights and accelerate; what matters is raised."""
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
