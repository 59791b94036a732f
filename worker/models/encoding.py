"""Prompts and images as conditions: the pipeline's own encoders are loaded, used once and let go of."""

import gc
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import diffusers
import torch
from torch import Tensor

from worker.models.conditions import Conditions, collect
from worker.models.data import read_image
from worker.models.errors import ModelError
from worker.models.families.adapter import Adapter, Pictures, Text
from worker.models.folder import PipelineFolder
from worker.models.weights import encoder_files

ENCODERS = {
    "diffusers": frozenset({"AutoencoderKLTemporalDecoder"}),
    "transformers": frozenset(
        {
            "CLIPFeatureExtractor",
            "CLIPImageProcessor",
            "CLIPImageProcessorPil",
            "CLIPTextModel",
            "CLIPTextModelWithProjection",
            "CLIPTokenizer",
            "CLIPTokenizerFast",
            "CLIPVisionModelWithProjection",
            "Gemma2Model",
            "GemmaTokenizer",
            "GemmaTokenizerFast",
            "T5EncoderModel",
            "T5Tokenizer",
            "T5TokenizerFast",
            "UMT5EncoderModel",
        }
    ),
}
"""Classes of encoders that a folder can make us load: those of the families' pipelines, and no others."""

_Encoded = TypeVar("_Encoded")

_CACHE = 'encode them where the pipeline works and name the file: embeddings = "conditions.safetensors"'


def encoder_names(folder: PipelineFolder, how: Text | Pictures) -> list[str]:
    """Components of a folder that encode, in the order of its index."""
    return [name for name in folder.index if name.startswith(how.components) and folder.has(name)]


def encode_prompts(
    folder: PipelineFolder,
    adapter: Adapter,
    prompts: Sequence[str],
    *,
    negative: str | None,
    variant: str | None,
    precision: torch.dtype,
    device: torch.device,
) -> Conditions:
    """Encode prompts.

    Args:
        folder: the pipeline.
        adapter: the family of its network, one of text.
        prompts: at least one.
        negative: negative prompt of guidance; None: the pipeline's own.
        variant: of the weights' file names.
        precision: of the encoders.
        device: where they run.

    Returns:
        The conditions, on the CPU.

    Raises:
        ModelError: the pipeline has no encoders of its own, or they fail.
    """
    how = adapter.text
    assert how is not None
    encoded = _with_encoders(
        folder,
        how,
        lambda pipeline: _copies(how.encode(pipeline, prompts, negative)),
        variant=variant,
        precision=precision,
        device=device,
    )
    # All rows of the unconditional side are the same prompt: one of them is enough.
    once = {name: tensor[:1] if name.startswith("negative_") else tensor for name, tensor in encoded.items()}
    return collect(folder.where, once, adapter)


def encode_pictures(
    folder: PipelineFolder, adapter: Adapter, files: Sequence[Path], *, variant: str | None, device: torch.device
) -> Conditions:
    """Encode images in float32; what is random of image i, such as noise on it, is drawn from the seed i.

    Args:
        folder: the pipeline.
        adapter: the family of its network, one of images.
        files: the images, at least one; each is cut to the middle and scaled to the size of the video.
        variant: of the weights' file names.
        device: where the encoders run.

    Returns:
        The conditions, on the CPU.

    Raises:
        ModelError: the pipeline has no encoders of its own, they fail, or a file is no image.
    """
    how = adapter.pictures
    assert how is not None
    height, width = how.size
    images = [read_image(folder.where, file, channels=3, height=height, width=width) for file in files]
    rows = _with_encoders(
        folder,
        how,
        lambda pipeline: [_copies(how.encode(pipeline, image, torch.Generator().manual_seed(i))) for i, image in enumerate(images)],
        variant=variant,
        precision=torch.float32,
        device=device,
    )
    return collect(folder.where, {name: torch.cat([row[name] for row in rows]) for name in rows[0]}, adapter)


def _copies(encoded: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Copies: an encoder's output may be a part of something larger."""
    return {name: tensor.cpu().clone() for name, tensor in encoded.items() if tensor is not None}


def _with_encoders(
    folder: PipelineFolder,
    how: Text | Pictures,
    encode: Callable[[Any], _Encoded],
    *,
    variant: str | None,
    precision: torch.dtype,
    device: torch.device,
) -> _Encoded:
    """What the pipeline with its encoders and without everything else answers; then their memory is the device's again."""
    try:
        return _encoded(folder, _load(folder, how, variant, precision).to(device), encode)
    finally:
        # Here and not where they are used: as long as anybody has a name for them, there is nothing to give back.
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _encoded(folder: PipelineFolder, pipeline: Any, encode: Callable[[Any], _Encoded]) -> _Encoded:
    # Encoders that are absent leave zeros behind, whose shape pipelines look up in the network's configuration.
    setattr(pipeline, folder.network, SimpleNamespace(config=SimpleNamespace(**folder.config(folder.network))))
    try:
        with torch.inference_mode():
            return encode(pipeline)
    except ModelError:
        raise
    except Exception as error:  # whatever the encoders raise becomes the answer to the person who asked
        received = f"{type(error).__name__}: {error} from encoding the conditions"
        raise ModelError.of(folder.where, received=received, expected="embeddings", fix=_CACHE) from error


def _load(folder: PipelineFolder, how: Text | Pictures, variant: str | None, precision: torch.dtype) -> Any:
    names = encoder_names(folder, how)
    wanted = how.components[0]
    if not any(name.startswith(wanted) for name in names):
        received = f"a pipeline without {wanted}"
        raise ModelError.of(folder.where, received=received, expected="encoders of its conditions, or cached embeddings", fix=_CACHE)
    _check_classes(folder, names)
    variants = {found for name in names if (found := encoder_files(folder, name, variant)[0]) is not None}
    own = folder.index.get("_class_name")
    pipeline_class = getattr(diffusers, own if own in how.pipelines else how.pipelines[0])
    absent = {name: None for name, entry in folder.index.items() if isinstance(entry, list) and name not in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about components that we leave out on purpose
            return pipeline_class.from_pretrained(
                folder.path,
                variant=min(variants, default=None),
                local_files_only=True,
                use_safetensors=True,
                torch_dtype=precision,
                **absent,
            )
    except Exception as error:  # transformers and tokenizers raise errors of many kinds
        received = f"encoders that do not load ({type(error).__name__}: {str(error).splitlines()[0]})"
        raise ModelError.of(folder.where, received=received, expected="encoders in safetensors files", fix=_CACHE) from error


def _check_classes(folder: PipelineFolder, names: Sequence[str]) -> None:
    for name in names:
        library, kind = folder.index[name]
        if kind not in ENCODERS.get(library, ()):
            expected = "an encoder of the families' pipelines, one of " + ", ".join(sorted(frozenset[str]().union(*ENCODERS.values())))
            raise ModelError.of(folder.where, received=f"{name} of class {library}.{kind}", expected=expected, fix=_CACHE)
