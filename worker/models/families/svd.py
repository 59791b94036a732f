"""`UNetSpatioTemporalConditionModel`: Stable Video Diffusion, image to video (Blattmann et al. 2023, https://arxiv.org/abs/2311.15127)."""

from typing import Any

import torch
from torch import Tensor

from worker.models.families.adapter import Adapter, Given, Setting, require, sides, spatial_factor

IMAGE_EMBEDS, IMAGE_LATENTS = "image_embeds", "image_latents"

_ADDED = (6.0, 127.0, 0.02)
"""Frames a second less one, motion bucket and noise added to the image: the pipeline's own values."""

_FIRST_FRAME_SCALE = 1.0


class StableVideo(Adapter):
    """An image, embedded and as latents beside every frame; samples are latent videos of shape (frames, channels, height, width).

    The guidance scale is that of the last frame and falls to 1 at the first, as in the pipeline.
    """

    needs = (IMAGE_EMBEDS, IMAGE_LATENTS)
    guidance = "classifier_free"
    default_guidance = 3.0

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        network = setting.network
        into, out = network.get("in_channels", 8), network.get("out_channels", 4)
        require(setting, into == 2 * out, received=f"{into} channels in, {out} out", expected="twice as many in: the frames and an image")
        frames = network.get("num_frames", 25) if setting.frames is None else setting.frames
        require(setting, frames > 0, received=f"frames = {frames}", expected="at least 1", fix="correct frames in the models file")
        where = sides(setting, factor=spatial_factor(setting.vae, 8), native=network.get("sample_size"))
        self.shape = (frames, out, *where)

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        image = given[IMAGE_LATENTS].unsqueeze(1).expand(-1, self.shape[0], -1, -1, -1)
        added = torch.tensor(_ADDED).to(x).expand(len(x), -1)
        output: Tensor = net(torch.cat([x, image], dim=2), time, given[IMAGE_EMBEDS], added_time_ids=added, return_dict=False)[0]
        return output

    def unconditional(self, given: Given) -> Given:
        """No image: zeros."""
        return {name: torch.zeros_like(tensor[:1]) for name, tensor in given.items()}

    def weight(self, scale: float, like: Tensor) -> Tensor:
        """A scale for each frame."""
        return torch.linspace(_FIRST_FRAME_SCALE, scale, self.shape[0]).to(like).view(1, -1, 1, 1, 1)
