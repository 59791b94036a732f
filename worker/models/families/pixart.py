"""`PixArtTransformer2DModel`: PixArt-alpha and -sigma (Chen et al. 2024, https://arxiv.org/abs/2310.00426)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, tensor

from worker.models.families.adapter import (
    LENGTH,
    MASK,
    PROMPT_EMBEDS,
    Adapter,
    Given,
    Setting,
    Text,
    no_frames,
    sides,
    spatial_factor,
    usual,
)


def encode_masked(pipeline: Any, prompts: Sequence[str], negative: str | None, **options: object) -> Given:
    """Encode with a pipeline that returns embeddings and attention masks."""
    embeds, mask, negative_embeds, negative_mask = pipeline.encode_prompt(
        list(prompts),
        do_classifier_free_guidance=True,
        negative_prompt=negative or "",
        max_sequence_length=usual(pipeline, LENGTH),
        device=pipeline.device,
        **options,
    )
    return {PROMPT_EMBEDS: embeds, MASK: mask, f"negative_{PROMPT_EMBEDS}": negative_embeds, f"negative_{MASK}": negative_mask}


class PixArt(Adapter):
    """A masked prompt; the alpha network of 1,024 pixels also sees the size. A second half of output channels is a learned variance."""

    needs = (PROMPT_EMBEDS, MASK)
    guidance = "classifier_free"
    default_guidance = 4.5
    text = Text(pipelines=("PixArtSigmaPipeline", "PixArtAlphaPipeline"), encode=encode_masked)

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network = setting.network
        self._factor = spatial_factor(setting.vae, 8)
        self.shape = (network.get("in_channels", 4), *sides(setting, factor=self._factor, native=network.get("sample_size", 128)))
        sized = network.get("use_additional_conditions")
        self._sized = network.get("sample_size", 128) == 128 if sized is None else bool(sized)

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        output: Tensor = net(
            x,
            encoder_hidden_states=given[PROMPT_EMBEDS],
            timestep=time,
            added_cond_kwargs=self._size(x),
            encoder_attention_mask=given[MASK],
            return_dict=False,
        )[0]
        return output[:, : self.shape[0]]

    def _size(self, x: Tensor) -> dict[str, Tensor | None]:
        if not self._sized:
            return {"resolution": None, "aspect_ratio": None}
        height, width = (n * self._factor for n in self.shape[1:])
        resolution, ratio = tensor([height, width]).to(x), tensor([height / width]).to(x)
        return {"resolution": resolution.expand(len(x), -1), "aspect_ratio": ratio.expand(len(x), -1)}
