"""Families of networks: which adapter calls which class of diffusers."""

from collections.abc import Callable, Mapping

from worker.models.families.adapter import Adapter, Setting
from worker.models.families.dit import DiT
from worker.models.families.flux import Flux
from worker.models.families.ltx import LTX
from worker.models.families.pixart import PixArt
from worker.models.families.sana import Sana
from worker.models.families.sd import StableDiffusion
from worker.models.families.sd3 import StableDiffusion3
from worker.models.families.svd import StableVideo
from worker.models.families.unet2d import UNet2D
from worker.models.families.wan import Wan

FAMILIES: Mapping[str, Callable[[Setting], Adapter]] = {
    "UNet2DModel": UNet2D,
    "UNet2DConditionModel": StableDiffusion,
    "DiTTransformer2DModel": DiT,
    "PixArtTransformer2DModel": PixArt,
    "SanaTransformer2DModel": Sana,
    "SD3Transformer2DModel": StableDiffusion3,
    "FluxTransformer2DModel": Flux,
    "WanTransformer3DModel": Wan,
    "LTXVideoTransformer3DModel": LTX,
    "UNetSpatioTemporalConditionModel": StableVideo,
}
"""Adapters by the network's class: the only classes that a folder can make us load."""
