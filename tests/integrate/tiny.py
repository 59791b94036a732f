"""Pipelines of diffusers with tiny random weights and no text encoders: the real classes, called with embeddings."""

from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch

from examples.edm_pipeline import EDMPipeline
from tests.integrate.problems import EDM_STD, LATENT


@dataclass
class Tiny:
    """A pipeline and how a server would call it.

    Attributes:
        pipe: the pipeline.
        call: arguments of its call site, which say nothing of a schedule.
        network: name of the component that is evaluated.
        shape: shape of its latents.
    """

    pipe: Any
    call: dict[str, Any]
    network: str
    shape: tuple[int, ...]
    calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def __post_init__(self):
        self.pipe.set_progress_bar_config(disable=True)
        getattr(self.pipe, self.network).eval().register_forward_hook(self._record, with_kwargs=True)

    def __call__(self, **more):
        self.calls.clear()
        with torch.no_grad():
            return self.pipe(**self.call | more)

    def _record(self, _module, args, kwargs, output):
        seen = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))
        time = kwargs["timestep"] if "timestep" in kwargs else args[1]
        predicted = output[0]
        self.calls.append((seen.clone(), time.reshape(-1)[0].clone(), predicted[:, : seen.shape[1]].clone()))


def unet_condition(**changes):
    return diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8, 8),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
        }
        | changes
    )


def vae(**changes):
    return diffusers.AutoencoderKL(**{"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4} | changes)


def image_vae(channels):
    """One of a flow model's pipelines."""
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return vae(**blocks, latent_channels=channels, shift_factor=0.1, scaling_factor=0.3)


def stable_diffusion(scheduler=None):
    scheduler = scheduler or diffusers.PNDMScheduler(**LATENT, skip_prk_steps=True, steps_offset=1)
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        text_encoder=None,
        tokenizer=None,
        unet=unet_condition(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    call = {"prompt_embeds": torch.randn(2, 5, 16), "guidance_scale": 1.0, "output_type": "latent", "return_dict": False}
    return Tiny(pipe, call, "unet", (2, 4, 8, 8))


def stable_diffusion_xl():
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=vae(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet_condition(addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=64),
        scheduler=diffusers.EulerDiscreteScheduler(**LATENT, timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )
    call = {"prompt_embeds": torch.randn(2, 5, 16), "pooled_prompt_embeds": torch.randn(2, 16), "guidance_scale": 1.0}
    return Tiny(pipe, call | {"output_type": "latent", "return_dict": False}, "unet", (2, 4, 8, 8))


def stable_diffusion_3(channels=4):
    network = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=channels,
        out_channels=channels,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
    )
    none = dict.fromkeys(["text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"])
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = diffusers.StableDiffusion3Pipeline(transformer=network, vae=None, scheduler=scheduler, **none)
    call = {"prompt_embeds": torch.randn(2, 5, 16), "pooled_prompt_embeds": torch.randn(2, 16), "guidance_scale": 1.0}
    return Tiny(pipe, call | {"height": 64, "width": 64, "output_type": "latent", "return_dict": False}, "transformer", (2, channels, 8, 8))


def flux(scheduler=None):
    network = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
    )
    none = dict.fromkeys(["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"])
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    pipe = diffusers.FluxPipeline(transformer=network, vae=None, scheduler=scheduler, **none)
    call = {"prompt_embeds": torch.randn(2, 5, 16), "pooled_prompt_embeds": torch.randn(2, 16), "height": 64, "width": 64}
    return Tiny(pipe, call | {"output_type": "latent", "return_dict": False}, "transformer", (2, 16, 16))


def wan():
    network = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        rope_max_seq_len=32,
    )
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    pipe = diffusers.WanPipeline(tokenizer=None, text_encoder=None, vae=None, transformer=network, scheduler=scheduler)
    call = {"prompt_embeds": torch.randn(2, 5, 16), "guidance_scale": 1.0, "height": 64, "width": 64, "num_frames": 5}
    return Tiny(pipe, call | {"output_type": "latent", "return_dict": False}, "transformer", (2, 4, 2, 8, 8))


def dit():
    network = diffusers.DiTTransformer2DModel(
        sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4, out_channels=8
    )
    decoder = vae(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)
    pipe = diffusers.DiTPipeline(transformer=network, vae=decoder, scheduler=diffusers.DDIMScheduler(**LATENT))
    return Tiny(pipe, {"class_labels": [1, 2], "guidance_scale": 1.0, "output_type": "np"}, "transformer", (2, 4, 8, 8))


def pixels(name):
    """`DDPMPipeline` or `DDIMPipeline`: they draw their noise themselves and return numpy images."""
    scheduler = {"DDPMPipeline": diffusers.DDPMScheduler, "DDIMPipeline": diffusers.DDIMScheduler}[name](**LATENT)
    pipe = getattr(diffusers, name)(unet=_unet(), scheduler=scheduler)
    return Tiny(pipe, {"batch_size": 2, "output_type": "np", "return_dict": False}, "unet", (2, 1, 8, 8))


def edm(scheduler):
    """A pipeline of one's own around an EDM network: the one in examples/."""
    pipe = EDMPipeline(_unet(), scheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=EDM_STD))
    return Tiny(pipe, {"batch_size": 2, "output_type": "np"}, "unet", (2, 1, 8, 8))


def _unet():
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
