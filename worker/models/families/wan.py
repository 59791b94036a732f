"""`WanTransformer3DModel`: text to video with Wan 2.1 and the 5 B network of Wan 2.2 (https://arxiv.org/abs/2503.20314)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from worker.models.families.adapter import LENGTH, PROMPT_EMBEDS, Adapter, Given, Setting, Text, latent_frames, require, sides, usual
from worker.models.families.sd3 import THOUSANDTHS

_USUAL_PIXELS, _USUAL_FRAMES = (480, 832), 81


def _encode(pipeline: Any, prompts: Sequence[str], negative: str | None) -> Given:
    embeds, negative_embeds = pipeline.encode_prompt(
        prompt=list(prompts),
        negative_prompt=None if negative is None else [negative] * len(prompts),
        do_classifier_free_guidance=True,
        max_sequence_length=usual(pipeline, LENGTH),
        device=pipeline.device,
    )
    return {PROMPT_EMBEDS: embeds, f"negative_{PROMPT_EMBEDS}": negative_embeds}


class Wan(Adapter):
    """A prompt; samples are latent videos of shape (channels, frames, height, width)."""

    needs = (PROMPT_EMBEDS,)
    guidance = "classifier_free"
    default_guidance = 5.0
    text = Text(pipelines=("WanPipeline",), encode=_encode)

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        network, vae = setting.network, setting.vae or {}
        into, out = network.get("in_channels", 16), network.get("out_channels", 16)
        from_text = into == out and network.get("image_dim") is None
        require(setting, from_text, received=f"{into} channels in, {out} out", expected="a network of text to video")
        space, time = vae.get("scale_factor_spatial") or 8, vae.get("scale_factor_temporal") or 4
        patch = (network.get("patch_size") or [1, 2, 2])[1]
        native = [side // space for side in _USUAL_PIXELS]
        frames = latent_frames(setting, usual=_USUAL_FRAMES, factor=time)
        self.shape = (into, frames, *sides(setting, factor=space, native=native, multiple=patch))

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        output: Tensor = net(hidden_states=x, timestep=THOUSANDTHS * time, encoder_hidden_states=given[PROMPT_EMBEDS], return_dict=False)[0]
        return output
