"""`FluxTransformer2DModel`: FLUX.1 dev (guidance as an input) and schnell (https://github.com/black-forest-labs/flux)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.models.families.adapter import (
    LENGTH,
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
    usual,
)

_PATCH = 2
_USUAL_SIDE = 128


def _encode(pipeline: Any, prompts: Sequence[str], negative: str | None) -> Given:
    del negative  # guidance is distilled: there is no unconditional side
    embeds, pooled, _ = pipeline.encode_prompt(
        prompt=list(prompts), prompt_2=None, device=pipeline.device, max_sequence_length=usual(pipeline, LENGTH)
    )
    return {PROMPT_EMBEDS: embeds, POOLED: pooled}


class Flux(Adapter):
    """A prompt and its pooled form. Samples are latent images, which the network sees as a row of 2 x 2 patches."""

    needs = (PROMPT_EMBEDS, POOLED)
    text = Text(pipelines=("FluxPipeline",), encode=_encode)

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network = setting.network
        into, out = network.get("in_channels", 64), network.get("out_channels") or network.get("in_channels", 64)
        fits = into % _PATCH**2 == 0 and out == into
        expected = "as many out as in, a multiple of 4: no fill, depth or canny network"
        require(setting, fits, received=f"{into} channels in, {out} out", expected=expected)
        where = sides(setting, factor=spatial_factor(setting.vae, 8), native=_USUAL_SIDE, multiple=_PATCH)
        self.shape = (into // _PATCH**2, *where)
        self.tokens = where[0] * where[1] // _PATCH**2
        if network.get("guidance_embeds"):
            self.guidance, self.default_guidance = "embedded", 3.5

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        prompt = given[PROMPT_EMBEDS]
        output: Tensor = net(
            hidden_states=_pack(x),
            encoder_hidden_states=prompt,
            pooled_projections=given[POOLED],
            timestep=time,
            img_ids=self._positions().to(x),
            txt_ids=torch.zeros(prompt.shape[1], 3).to(x),
            guidance=None if guidance is None else torch.full((len(x),), guidance, device=x.device, dtype=torch.float32),
            return_dict=False,
        )[0]
        return self._unpack(output)

    def _positions(self) -> Tensor:
        """Row and column of each patch, shape (patches, 3); the first number is 0."""
        rows, columns = (n // _PATCH for n in self.shape[1:])
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        return torch.stack([torch.zeros_like(row), row, column], dim=-1).reshape(-1, 3)

    def _unpack(self, tokens: Tensor) -> Tensor:
        channels, height, width = self.shape
        patches = tokens.reshape(len(tokens), height // _PATCH, width // _PATCH, channels, _PATCH, _PATCH)
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), *self.shape)


def _pack(x: Tensor) -> Tensor:
    """Latents of shape (batch, channels, height, width) as patches, shape (batch, patches, 4 channels)."""
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, (height // _PATCH) * (width // _PATCH), channels * _PATCH**2)
