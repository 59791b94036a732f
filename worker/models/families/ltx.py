"""`LTXVideoTransformer3DModel`: LTX-Video, text to video (HaCohen et al. 2024, https://arxiv.org/abs/2501.00103)."""

import math
from typing import Any

from torch import Tensor

from worker.models.families.adapter import MASK, PROMPT_EMBEDS, Adapter, Given, Setting, Text, latent_frames, require, sides
from worker.models.families.pixart import encode_masked
from worker.models.families.sd3 import THOUSANDTHS

_USUAL_PIXELS, _USUAL_FRAMES = (512, 704), 161
_FRAMES_A_SECOND = 25


class LTX(Adapter):
    """A masked prompt; samples are latent videos of shape (channels, frames, height, width), which the network sees as a row of tokens."""

    needs = (PROMPT_EMBEDS, MASK)
    guidance = "classifier_free"
    default_guidance = 3.0
    text = Text(pipelines=("LTXPipeline",), encode=encode_masked)

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        network, vae = setting.network, setting.vae or {}
        patches = (network.get("patch_size", 1), network.get("patch_size_t", 1))
        require(setting, patches == (1, 1), received=f"patches of {patches}", expected="patches of one latent value")
        self._space = vae.get("spatial_compression_ratio") or 32
        self._time = vae.get("temporal_compression_ratio") or 8
        native = [side // self._space for side in _USUAL_PIXELS]
        frames = latent_frames(setting, usual=_USUAL_FRAMES, factor=self._time)
        self.shape = (network.get("in_channels", 128), frames, *sides(setting, factor=self._space, native=native))
        self.tokens = math.prod(self.shape[1:])

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        _, frames, height, width = self.shape
        output: Tensor = net(
            hidden_states=x.flatten(2).transpose(1, 2),
            encoder_hidden_states=given[PROMPT_EMBEDS],
            timestep=THOUSANDTHS * time,
            encoder_attention_mask=given[MASK],
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(self._time / _FRAMES_A_SECOND, self._space, self._space),
            return_dict=False,
        )[0]
        return output.transpose(1, 2).reshape(len(x), *self.shape)
