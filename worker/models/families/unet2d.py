"""`UNet2DModel`: images in pixel space, unconditional or of a class."""

from typing import Any

from torch import Tensor

from worker.models.families.adapter import CLASS_LABELS, Adapter, Given, Setting, no_frames, require, sides, spatial_factor


class UNet2D(Adapter):
    """DDPM and EDM networks; a second half of output channels is a learned variance."""

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network = setting.network
        into, out = network.get("in_channels", 3), network.get("out_channels", 3)
        fits = isinstance(into, int) and into > 0 and out in {into, 2 * into}
        expected = "as many out as in, or twice as many (a learned variance)"
        require(setting, fits, received=f"{into} channels in, {out} out", expected=expected)
        kind = network.get("class_embed_type")
        require(setting, kind is None, received=f"class_embed_type {kind!r}", expected="an embedding of class labels, or none")
        factor = spatial_factor(setting.vae, 1)
        self.shape = (into, *sides(setting, factor=factor, native=network.get("sample_size")))
        self.classes = network.get("num_class_embeds") or 0
        self.needs = (CLASS_LABELS,) if self.classes else ()

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        output: Tensor = net(x, time, given.get(CLASS_LABELS), return_dict=False)[0]
        return output[:, : self.shape[0]]
