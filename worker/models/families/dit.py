"""`DiTTransformer2DModel`: latent images of a class (Peebles, Xie 2023, https://arxiv.org/abs/2212.09748)."""

from typing import Any

import torch
from torch import Tensor

from worker.models.families.adapter import CLASS_LABELS, Adapter, Given, Setting, no_frames, sides, spatial_factor


class DiT(Adapter):
    """Class labels; the class after the last stands for none of them. A second half of output channels is a learned variance."""

    needs = (CLASS_LABELS,)
    guidance = "classifier_free"
    default_guidance = 4.0

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network = setting.network
        factor = spatial_factor(setting.vae, 8)
        self.shape = (network.get("in_channels", 4), *sides(setting, factor=factor, native=network.get("sample_size")))
        self.classes = network.get("num_embeds_ada_norm") or 1000

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        output: Tensor = net(x, timestep=time, class_labels=given[CLASS_LABELS], return_dict=False)[0]
        return output[:, : self.shape[0]]

    def unconditional(self, given: Given) -> Given:
        """The class that stands for none."""
        return {CLASS_LABELS: torch.full_like(given[CLASS_LABELS][:1], self.classes)}
