"""`SD3Transformer2DModel`: Stable Diffusion 3 and 3.5 (Esser et al. 2024, https://arxiv.org/abs/2403.03206)."""

from collections.abc import Sequence
from typing import Any

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
    sides,
    spatial_factor,
    usual,
    with_pooled,
)

THOUSANDTHS = 1000.0
"""Networks of rectified flow count their time in thousandths."""


def _encode(pipeline: Any, prompts: Sequence[str], negative: str | None) -> Given:
    encoded = pipeline.encode_prompt(
        prompt=list(prompts),
        prompt_2=None,
        prompt_3=None,
        max_sequence_length=usual(pipeline, LENGTH),
        device=pipeline.device,
        do_classifier_free_guidance=True,
        negative_prompt=None if negative is None else [negative] * len(prompts),
    )
    return with_pooled(*encoded)


class StableDiffusion3(Adapter):
    """A prompt and its pooled form."""

    needs = (PROMPT_EMBEDS, POOLED)
    guidance = "classifier_free"
    default_guidance = 7.0
    text = Text(pipelines=("StableDiffusion3Pipeline",), encode=_encode)

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network, patch = setting.network, setting.network.get("patch_size", 2)
        where = sides(
            setting,
            factor=spatial_factor(setting.vae, 8),
            native=network.get("sample_size", 128),
            multiple=patch,
        )
        self.shape = (network.get("in_channels", 16), *where)
        self.tokens = where[0] * where[1] // patch**2

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        output: Tensor = net(
            hidden_states=x,
            encoder_hidden_states=given[PROMPT_EMBEDS],
            pooled_projections=given[POOLED],
            timestep=THOUSANDTHS * time,
            return_dict=False,
        )[0]
        return output
