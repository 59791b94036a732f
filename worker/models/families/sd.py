"""`UNet2DConditionModel`: Stable Diffusion 1 and 2, SDXL, and the base stage of DeepFloyd IF."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.models.families.adapter import (
    POOLED,
    PROMPT_EMBEDS,
    Adapter,
    Given,
    Setting,
    Text,
    no_frames,
    require,
    sides,
    spatial_factor,
    with_pooled,
)


def _encode(pipeline: Any, prompts: Sequence[str], negative: str | None) -> Given:
    against = None if negative is None else [negative] * len(prompts)
    embeds, negative_embeds = pipeline.encode_prompt(
        prompt=list(prompts),
        device=pipeline.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt=against,
    )
    return {PROMPT_EMBEDS: embeds, f"negative_{PROMPT_EMBEDS}": negative_embeds}


def _encode_xl(pipeline: Any, prompts: Sequence[str], negative: str | None) -> Given:
    encoded = pipeline.encode_prompt(
        prompt=list(prompts),
        device=pipeline.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt=None if negative is None else [negative] * len(prompts),
    )
    return with_pooled(*encoded)


class StableDiffusion(Adapter):
    """Cross-attention to a prompt; SDXL adds a pooled prompt and the size of the image."""

    guidance = "classifier_free"

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network = setting.network
        into, out = network.get("in_channels", 4), network.get("out_channels", 4)
        expected = "as many out as in, or twice as many (a learned variance): no inpainting or upscaling network"
        require(setting, out in {into, 2 * into}, received=f"{into} channels in, {out} out", expected=expected)
        added = network.get("addition_embed_type")
        expected = "none, 'text' (DeepFloyd IF) or 'text_time' (SDXL)"
        require(setting, added in {None, "text", "text_time"}, received=f"addition_embed_type {added!r}", expected=expected)
        for key in ("class_embed_type", "num_class_embeds", "time_cond_proj_dim"):
            require(setting, network.get(key) is None, received=f"{key} {network.get(key)!r}", expected="none")
        pixel_space = added == "text" and setting.vae is None
        self._factor = spatial_factor(setting.vae, 1 if pixel_space else 8)
        self.shape = (into, *sides(setting, factor=self._factor, native=network.get("sample_size")))
        self._xl = added == "text_time"
        self.needs = (PROMPT_EMBEDS, POOLED) if self._xl else (PROMPT_EMBEDS,)
        self.default_guidance = 5.0 if self._xl else 7.0 if pixel_space else 7.5
        plain = ("IFPipeline",) if pixel_space else ("StableDiffusionPipeline",)
        xl = Text(pipelines=("StableDiffusionXLPipeline",), encode=_encode_xl)
        self.text = xl if self._xl else Text(pipelines=plain, encode=_encode)

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        added = {"text_embeds": given[POOLED], "time_ids": self._sizes(x)} if self._xl else None
        output: Tensor = net(x, time, given[PROMPT_EMBEDS], added_cond_kwargs=added, return_dict=False)[0]
        return output[:, : self.shape[0]]

    def _sizes(self, x: Tensor) -> Tensor:
        """Original size, crop and target size of an image that was not cropped, shape (batch, 6)."""
        height, width = (n * self._factor for n in self.shape[1:])
        return torch.tensor([height, width, 0, 0, height, width]).to(x).expand(len(x), -1)
