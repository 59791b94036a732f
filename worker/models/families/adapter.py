"""What the families of networks have in common: the shape of a sample, the conditions they need, and one call.

An adapter knows a family's calling convention and nothing else: preconditioning, guidance, batches and precision are the denoiser's.
Conditions have the names that diffusers' pipelines give them; the unconditional side of guidance has them with `negative_` in front.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL.Image import Image
from torch import Generator, Tensor

from worker.models.errors import ModelError

Config = Mapping[str, Any]
Given = Mapping[str, Tensor]
"""Conditions by name, one row a sample."""

Guidance = Literal["none", "classifier_free", "embedded"]
"""How a guidance scale enters: not at all, as a second forward pass, or as an input of the network (guidance distillation)."""

PROMPT_EMBEDS, POOLED, MASK = "prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask"
CLASS_LABELS = "class_labels"
LENGTH = "max_sequence_length"
IMAGE_EMBEDS, IMAGE_LATENTS = "image_embeds", "image_latents"


def with_pooled(embeds: Tensor, negative: Tensor, pooled: Tensor, negative_pooled: Tensor) -> Given:
    """Conditions of prompts and of their negative side, in the order of a pipeline's `encode_prompt` with pooled embeddings."""
    return {PROMPT_EMBEDS: embeds, f"negative_{PROMPT_EMBEDS}": negative, POOLED: pooled, f"negative_{POOLED}": negative_pooled}


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What a network of image to video is told beside the image; the defaults are those of its pipeline.

    Attributes:
        fps: frames a second.
        motion_bucket_id: how much moves: more, the larger it is.
        noise_aug_strength: standard deviation of the noise on the image, whose pixels are in [-1, 1].
    """

    fps: int = 7
    motion_bucket_id: int = 127
    noise_aug_strength: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an adapter is made from.

    Attributes:
        where: subject of messages.
        network: the network's `config.json`.
        vae: the autoencoder's `config.json`, where the pipeline has one.
        height: of the image, in pixels; null: the network's own.
        width: of the image, in pixels; null: the network's own.
        frames: of the video; null: the family's usual.
        motion: of a video made from an image.
    """

    where: str
    network: Config
    vae: Config | None = None
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    motion: Motion = Motion()


@dataclass(frozen=True, kw_only=True)
class Text:
    """How a family's prompts become conditions.

    Attributes:
        pipelines: classes of diffusers whose encoders fit, the usual one first.
        encode: `(pipeline, prompts, negative prompt or None)` -> the conditions of the prompts, `negative_` ones included.
        components: beginnings of the names of the components that encode.
    """

    pipelines: tuple[str, ...]
    encode: Callable[[Any, Sequence[str], str | None], Given]
    components: tuple[str, ...] = ("text_encoder", "tokenizer")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """How a family's images become conditions.

    Attributes:
        pipelines: classes of diffusers whose encoders fit, the usual one first.
        encode: `(pipeline, image, generator of what is random)` -> the condition of the image.
        size: height and width of the image, in pixels.
        components: names of the components that encode.
    """

    pipelines: tuple[str, ...]
    encode: Callable[[Any, Image, Generator], Given]
    size: tuple[int, int]
    components: tuple[str, ...] = ("image_encoder", "feature_extractor", "vae")


def usual(pipeline: Any, name: str) -> Any:
    """Default of an argument of a pipeline's call: what its users get, which is not always the default of its `encode_prompt`."""
    return inspect.signature(type(pipeline).__call__).parameters[name].default


class Adapter(ABC):
    """A family of networks.

    Attributes:
        shape: shape of one sample.
        needs: names of the conditions that a call is given.
        guidance: how a guidance scale enters.
        default_guidance: the scale that the family's pipeline uses unless told otherwise; null without guidance.
        text: how prompts become conditions; null where they do not.
        pictures: how images become conditions; null where they do not.
        motion: what the network is told beside an image; null where it is not told anything.
        classes: number of class labels, 0 without.
        tokens: length of the row that a transformer sees a sample as, where its schedule is shifted by it.
    """

    shape: tuple[int, ...]
    needs: tuple[str, ...] = ()
    guidance: Guidance = "none"
    default_guidance: float | None = None
    text: Text | None = None
    pictures: Pictures | None = None
    motion: Motion | None = None
    classes: int = 0
    tokens: int | None = None

    @abstractmethod
    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network.

        Args:
            net: the network.
            x: its scaled input, shape (batch, *shape), in the network's precision.
            time: native time of the process, shape (batch,), float32.
            given: conditions, each of shape (batch, ...).
            guidance: the scale, for a network that takes it as an input.

        Returns:
            What it predicts, shape (batch, *shape).
        """

    def unconditional(self, given: Given) -> Given | None:  # noqa: ARG002 (an answer for the families that have none)
        """Conditions of the unconditional side where they follow from the others; null where they have to be given."""
        return None

    def weight(self, scale: float, like: Tensor) -> float | Tensor:  # noqa: ARG002 (the same for all but videos from images)
        """Weight of the guided direction: the scale, or one for each part of a sample, broadcastable to `like`."""
        return scale


def sides(setting: Setting, *, factor: int, native: object = None, multiple: int = 1) -> tuple[int, int]:
    """Height and width of a sample.

    Args:
        setting: what was asked for.
        factor: pixels of the image for each of the sample, in each direction.
        native: the network's own size, in values of the sample: one or two whole numbers.
        multiple: what the sides of a sample must be multiples of.

    Raises:
        ModelError: the size is missing, or does not fit the network.
    """
    own = [native, native] if isinstance(native, int) else native
    pixels = [setting.height, setting.width]
    if None in pixels and own is not None and isinstance(own, Sequence) and len(own) == 2 and all(isinstance(n, int) for n in own):
        pixels = [given if given is not None else n * factor for given, n in zip(pixels, own, strict=True)]
    step = factor * multiple
    if any(n is None or n < step or n % step for n in pixels):
        received = f"height {setting.height}, width {setting.width} and a network of size {native}"
        expected = f"a height and a width in pixels, positive multiples of {step}"
        raise ModelError.of(setting.where, received=received, expected=expected, fix="set height and width in the models file")
    height, width = (int(n or 0) // factor for n in pixels)
    return height, width


def spatial_factor(vae: Config | None, default: int) -> int:
    """Pixels for each latent value, in each direction, from an autoencoder's configuration."""
    blocks = (vae or {}).get("block_out_channels")
    return 2 ** (len(blocks) - 1) if isinstance(blocks, Sequence) and blocks else default


def latent_frames(setting: Setting, *, usual: int, factor: int) -> int:
    """Frames of a sample of a causal video autoencoder: the first frame alone, then one for every `factor`.

    Raises:
        ModelError: that many frames cannot be encoded.
    """
    frames = usual if setting.frames is None else setting.frames
    if frames < 1 or (frames - 1) % factor:
        expected = f"1 more than a multiple of {factor}, such as {usual}"
        raise ModelError.of(setting.where, received=f"frames = {frames}", expected=expected, fix="correct frames in the models file")
    return (frames - 1) // factor + 1


def no_frames(setting: Setting) -> None:
    """Refuse a number of frames for a family of images.

    Raises:
        ModelError: frames were asked for.
    """
    if setting.frames is not None:
        fix = "remove frames from the models file"
        raise ModelError.of(setting.where, received=f"frames = {setting.frames}", expected="none: it makes images", fix=fix)


def require(setting: Setting, holds: bool, *, received: str, expected: str, fix: str = "bring it as a factory") -> None:
    """Refuse a network that the family's call does not fit.

    Raises:
        ModelError: the condition does not hold.
    """
    if not holds:
        raise ModelError.of(setting.where, received=received, expected=expected, fix=fix)
