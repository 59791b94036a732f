"""`UNetSpatioTemporalConditionModel`: Stable Video Diffusion, image to video (Blattmann et al. 2023, https://arxiv.org/abs/2311.15127)."""

from typing import Any

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from worker.models.families.adapter import (
    IMAGE_EMBEDS,
    IMAGE_LATENTS,
    Adapter,
    Given,
    Motion,
    Pictures,
    Setting,
    require,
    sides,
    spatial_factor,
)

_FIRST_FRAME_SCALE = 1.0


class StableVideo(Adapter):
    """An image, embedded and as latents beside every frame; samples are latent videos of shape (frames, channels, height, width).

    The guidance scale is that of the last frame and falls to 1 at the first, as in the pipeline.
    """

    needs = (IMAGE_EMBEDS, IMAGE_LATENTS)
    guidance = "classifier_free"
    default_guidance = 3.0
    motion: Motion

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        network = setting.network
        into, out = network.get("in_channels", 8), network.get("out_channels", 4)
        require(setting, into == 2 * out, received=f"{into} channels in, {out} out", expected="twice as many in: the frames and an image")
        frames = network.get("num_frames", 25) if setting.frames is None else setting.frames
        require(setting, frames > 0, received=f"frames = {frames}", expected="at least 1", fix="correct frames in the models file")
        factor = spatial_factor(setting.vae, 8)
        height, width = sides(setting, factor=factor, native=network.get("sample_size"))
        self.shape = (frames, out, height, width)
        self.motion = setting.motion
        size = (height * factor, width * factor)
        self.pictures = Pictures(pipelines=("StableVideoDiffusionPipeline",), encode=self._encode, size=size)

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        image = given[IMAGE_LATENTS].unsqueeze(1).expand(-1, self.shape[0], -1, -1, -1)
        motion = self.motion
        # One less than the frames a second: what the network was trained with, and what the pipeline gives it.
        added = torch.tensor([motion.fps - 1.0, motion.motion_bucket_id, motion.noise_aug_strength]).to(x).expand(len(x), -1)
        output: Tensor = net(torch.cat([x, image], dim=2), time, given[IMAGE_EMBEDS], added_time_ids=added, return_dict=False)[0]
        return output

    def unconditional(self, given: Given) -> Given:
        """No image: zeros."""
        return {name: torch.zeros_like(tensor[:1]) for name, tensor in given.items()}

    def weight(self, scale: float, like: Tensor) -> Tensor:
        """A scale for each frame."""
        return torch.linspace(_FIRST_FRAME_SCALE, scale, self.shape[0]).to(like).view(1, -1, 1, 1, 1)

    def _encode(self, pipeline: Any, image: Image, generator: Generator) -> Given:
        """The image as CLIP sees it, and the mode of its latents under a little noise, not scaled: as in the pipeline's call."""
        device, height, width = pipeline.device, image.height, image.width
        embeds = pipeline._encode_image(image, device, 1, False)
        pixels = pipeline.video_processor.preprocess(image, height=height, width=width)
        noisy = pixels + self.motion.noise_aug_strength * torch.randn(pixels.shape, generator=generator)
        latents = pipeline._encode_vae_image(noisy, device=device, num_videos_per_prompt=1, do_classifier_free_guidance=False)
        return {IMAGE_EMBEDS: embeds, IMAGE_LATENTS: latents}
