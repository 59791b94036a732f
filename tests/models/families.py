"""A tiny pipeline of random weights for each family: real classes, saved and read again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    DiTPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from PIL import Image
from torch import Tensor

VP = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False, "set_alpha_to_one": False}
PROMPTS, TOKENS = 3, 5


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A pipeline and how it is called.

    Attributes:
        make: builds the pipeline.
        conditions: makes the conditions by name, `negative_` ones included; given the pipeline.
        call: arguments of the pipeline's call beside conditions and latents.
        options: keys of the entry.
        guidance: name of the pipeline's argument of guidance, empty without.
        shape: of a sample.
    """

    make: Callable[[], Any]
    conditions: Callable[[Any], Mapping[str, Tensor]] = lambda _: {}
    call: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    guidance: str = "guidance_scale"
    shape: tuple[int, ...]

    @property
    def text(self) -> bool:
        """Whether its conditions are arguments of the pipeline's call."""
        return "image" not in self.call


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def prompt(width: int, *, pooled: int = 0, masked: bool = False, negative: bool = True) -> Callable[[Any], Mapping[str, Tensor]]:
    def conditions(_: object) -> Mapping[str, Tensor]:
        found = {"prompt_embeds": random(PROMPTS, TOKENS, width), "negative_prompt_embeds": random(1, TOKENS, width)}
        if pooled:
            found |= {"pooled_prompt_embeds": random(PROMPTS, pooled), "negative_pooled_prompt_embeds": random(1, pooled)}
        if masked:
            mask = torch.ones(PROMPTS, TOKENS)
            mask[0, 3:] = 0
            found |= {"prompt_attention_mask": mask, "negative_prompt_attention_mask": torch.tensor([[1.0, 1, 0, 0, 0]])}
        return found if negative else {name: value for name, value in found.items() if not name.startswith("negative_")}

    return conditions


def vae(kind: type = AutoencoderKL, **changes: object) -> Any:
    """An autoencoder that halves the sides."""
    plain = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    sizes = {"block_out_channels": (4, 4), "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 2, "sample_size": 16}
    return kind(**({} if kind is AutoencoderKLTemporalDecoder else {**plain, "norm_num_groups": 2}) | without(sizes, kind) | changes)


def without(sizes: dict[str, object], kind: type) -> dict[str, object]:
    if kind is not AutoencoderKLTemporalDecoder:
        return sizes
    kept = {name: value for name, value in sizes.items() if name != "norm_num_groups"}
    return kept | {"block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) * 2}


def ddpm() -> Any:
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    net = diffusers.UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=2, **blocks)
    return diffusers.DDIMPipeline(unet=net, scheduler=DDIMScheduler(clip_sample=False))


def condition_unet(**changes: object) -> Any:
    sizes = {
        "sample_size": 8,
        "block_out_channels": (8,),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "attention_head_dim": 4,
        "cross_attention_dim": 16,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
    }
    return diffusers.UNet2DConditionModel(**sizes | changes)


def sd() -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=None,
        tokenizer=None,
        unet=condition_unet(),
        scheduler=DDIMScheduler(**VP, prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 6 * 4 + 12}
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=condition_unet(**sizes),
        scheduler=DDIMScheduler(**VP),
        add_watermarker=False,
    )


def dit() -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 4, "num_layers": 1, "norm_num_groups": 2}
    net = diffusers.DiTTransformer2DModel(sample_size=8, in_channels=4, out_channels=8, num_embeds_ada_norm=1000, **heads)
    return DiTPipeline(transformer=net, vae=vae(), scheduler=DDIMScheduler(clip_sample=False))


def pixart(sample_size: int = 8, *, sized: bool = False) -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 12 if sized else 4, "num_layers": 1, "norm_num_groups": 2}
    width = heads["num_attention_heads"] * heads["attention_head_dim"]
    net = diffusers.PixArtTransformer2DModel(
        sample_size=sample_size,
        out_channels=8,
        cross_attention_dim=width,
        caption_channels=16,
        use_additional_conditions=sized,
        interpolation_scale=1,
        **heads,
    )
    kind = diffusers.PixArtAlphaPipeline if sized else diffusers.PixArtSigmaPipeline
    return kind(tokenizer=None, text_encoder=None, transformer=net, vae=vae(), scheduler=DDIMScheduler(clip_sample=False))


def sana() -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 4, "num_cross_attention_heads": 2, "cross_attention_head_dim": 4}
    net = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        sample_size=8,
        num_layers=1,
        cross_attention_dim=8,
        caption_channels=16,
        timestep_scale=1.0,
        **heads,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return diffusers.SanaPipeline(tokenizer=None, text_encoder=None, transformer=net, vae=None, scheduler=scheduler)


def sd3() -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 4, "num_layers": 1, "caption_projection_dim": 8}
    net = diffusers.SD3Transformer2DModel(
        sample_size=8, in_channels=4, out_channels=4, joint_attention_dim=16, pooled_projection_dim=12, pos_embed_max_size=8, **heads
    )
    absent = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3"))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return diffusers.StableDiffusion3Pipeline(transformer=net, scheduler=scheduler, vae=vae(), **absent)


def flux(*, guided: bool = True) -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1, "num_single_layers": 1, "axes_dims_rope": (4, 2, 2)}
    net = diffusers.FluxTransformer2DModel(
        in_channels=16, joint_attention_dim=16, pooled_projection_dim=12, guidance_embeds=guided, **heads
    )
    absent = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return diffusers.FluxPipeline(transformer=net, scheduler=scheduler, vae=vae(), **absent)


def wan() -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1, "ffn_dim": 16, "text_dim": 16, "freq_dim": 16}
    net = diffusers.WanTransformer3DModel(in_channels=4, out_channels=4, **heads)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return diffusers.WanPipeline(tokenizer=None, text_encoder=None, transformer=net, vae=None, scheduler=scheduler)


def ltx() -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1, "cross_attention_dim": 16, "caption_channels": 16}
    net = diffusers.LTXVideoTransformer3DModel(in_channels=4, out_channels=4, **heads)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return diffusers.LTXPipeline(tokenizer=None, text_encoder=None, transformer=net, vae=None, scheduler=scheduler)


def svd() -> Any:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    net = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=8,
        block_out_channels=(32,),
        down_block_types=("CrossAttnDownBlockSpatioTemporal",),
        up_block_types=("CrossAttnUpBlockSpatioTemporal",),
        layers_per_block=1,
        num_attention_heads=2,
        cross_attention_dim=16,
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=12,
        num_frames=3,
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=224, patch_size=112, projection_dim=16, **sizes))
    scheduler = EulerDiscreteScheduler(
        timestep_type="continuous",
        prediction_type="v_prediction",
        sigma_min=0.002,
        sigma_max=700.0,
        use_karras_sigmas=True,
        timestep_spacing="leading",
        steps_offset=1,
        **{name: value for name, value in VP.items() if name.startswith("beta")},
    )
    return diffusers.StableVideoDiffusionPipeline(
        vae=vae(AutoencoderKLTemporalDecoder),
        image_encoder=vision,
        unet=net,
        scheduler=scheduler,
        feature_extractor=CLIPImageProcessor(crop_size=224, size=224),
    )


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def images(pipe: Any) -> Mapping[str, Tensor]:
    """The conditions of an image as the pipeline's call encodes it."""
    with torch.inference_mode():
        embeds = pipe._encode_image(picture(), "cpu", 1, False)
        pixels = pipe.video_processor.preprocess(picture(), height=16, width=16)
        latents = pipe._encode_vae_image(pixels, device="cpu", num_videos_per_prompt=1, do_classifier_free_guidance=False)
    return {"image_embeds": embeds, "image_latents": latents}


IMAGE = {"height": 16, "width": 16}
VIDEO = {"height": 16, "width": 32, "num_frames": 5}
FAMILIES: dict[str, Tiny] = {
    "unet2d": Tiny(make=ddpm, guidance="", shape=(1, 8, 8)),
    "sd": Tiny(make=sd, conditions=prompt(16), call=IMAGE, shape=(4, 8, 8)),
    "sdxl": Tiny(make=sdxl, conditions=prompt(16, pooled=12), call=IMAGE, shape=(4, 8, 8)),
    "dit": Tiny(make=dit, shape=(4, 8, 8)),
    "pixart": Tiny(
        make=pixart,
        conditions=prompt(16, masked=True),
        call=IMAGE | {"use_resolution_binning": False, "negative_prompt": None},
        shape=(4, 8, 8),
    ),
    "pixart-sized": Tiny(
        make=lambda: pixart(128, sized=True),
        conditions=prompt(16, masked=True),
        call=IMAGE | {"use_resolution_binning": False, "negative_prompt": None},
        options=IMAGE,
        shape=(4, 8, 8),
    ),
    "sana": Tiny(
        make=sana,
        conditions=prompt(16, masked=True),
        call={"height": 256, "width": 256, "use_resolution_binning": False, "negative_prompt": None},
        shape=(4, 8, 8),
    ),
    "sd3": Tiny(make=sd3, conditions=prompt(16, pooled=12), call=IMAGE, shape=(4, 8, 8)),
    "flux": Tiny(make=flux, conditions=prompt(16, pooled=12, negative=False), call=IMAGE, options=IMAGE, shape=(4, 8, 8)),
    "wan": Tiny(
        make=wan,
        conditions=prompt(16),
        call={"height": 32, "width": 64, "num_frames": 5},
        options={"height": 32, "width": 64, "frames": 5},
        shape=(4, 2, 4, 8),
    ),
    "ltx": Tiny(
        make=ltx,
        conditions=prompt(16, masked=True),
        call={"height": 64, "width": 96, "num_frames": 9},
        options={"height": 64, "width": 96, "frames": 9},
        shape=(4, 2, 2, 3),
    ),
    "svd": Tiny(
        make=svd,
        conditions=images,
        call=IMAGE | {"image": picture(), "noise_aug_strength": 0.0},
        guidance="max_guidance_scale",
        shape=(3, 4, 8, 8),
    ),
}
