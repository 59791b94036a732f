"""Prompts as conditions: the pipeline's own encoders are loaded, used once and let go of."""

import gc
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import diffusers
import torch

from worker.models.conditions import Conditions, collect
from worker.models.errors import ModelError
from worker.models.families.adapter import Adapter
from worker.models.folder import PipelineFolder, is_encoder

_CACHE = 'encode them where the pipeline works and name the file: embeddings = "conditions.safetensors"'


def encode(
    folder: PipelineFolder,
    adapter: Adapter,
    prompts: Sequence[str],
    *,
    negative: str | None,
    precision: torch.dtype,
    device: torch.device,
) -> Conditions:
    """Encode prompts.

    Args:
        folder: the pipeline.
        adapter: the family of its network.
        prompts: at least one.
        negative: negative prompt of guidance; None: the pipeline's own.
        precision: of the encoders.
        device: where they run.

    Returns:
        The conditions, on the CPU.

    Raises:
        ModelError: the pipeline has no encoders of its own, or they fail.
    """
    pipeline = _load(folder, adapter, precision).to(device)
    # Encoders that are absent leave zeros behind, whose shape pipelines look up in the network's configuration.
    setattr(pipeline, folder.network, SimpleNamespace(config=SimpleNamespace(**folder.config(folder.network))))
    assert adapter.text is not None
    try:
        with torch.inference_mode():
            encoded = adapter.text.encode(pipeline, prompts, negative)
            # Copies: an encoder's output may be a part of something larger.
            tensors = {name: tensor.cpu().clone() for name, tensor in encoded.items() if tensor is not None}
    except Exception as error:  # whatever the encoders raise becomes the answer to the person who asked
        received = f"{type(error).__name__}: {error} from encoding the prompts"
        raise ModelError.of(folder.where, received=received, expected="embeddings", fix=_CACHE) from error
    finally:
        del pipeline
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    # All rows of the unconditional side are the same prompt: one of them is enough.
    once = {name: tensor[:1] if name.startswith("negative_") else tensor for name, tensor in tensors.items()}
    return collect(folder.where, once, adapter)


def _load(folder: PipelineFolder, adapter: Adapter, precision: torch.dtype) -> Any:
    """The pipeline with its encoders and without everything else."""
    names = [name for name in folder.index if is_encoder(name) and folder.has(name)]
    if adapter.text is None or not any(name.startswith("text_encoder") for name in names):
        received = "a pipeline without text encoders"
        raise ModelError.of(folder.where, received=received, expected="encoders of its prompts, or cached embeddings", fix=_CACHE)
    for name in names:
        folder.files(name)
    own = folder.index.get("_class_name")
    pipeline_class = getattr(diffusers, own if own in adapter.text.pipelines else adapter.text.pipelines[0])
    absent = {name: None for name, entry in folder.index.items() if isinstance(entry, list) and name not in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about components that we leave out on purpose
            return pipeline_class.from_pretrained(folder.path, local_files_only=True, use_safetensors=True, torch_dtype=precision, **absent)
    except Exception as error:  # transformers and tokenizers raise errors of many kinds
        received = f"encoders that do not load ({type(error).__name__}: {str(error).splitlines()[0]})"
        raise ModelError.of(folder.where, received=received, expected="encoders in safetensors files", fix=_CACHE) from error
