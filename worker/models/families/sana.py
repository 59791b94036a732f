"""`SanaTransformer2DModel`: Sana (Xie et al. 2025, https://arxiv.org/abs/2410.10629)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from worker.models.families.adapter import MASK, PROMPT_EMBEDS, Adapter, Given, Setting, Text, no_frames, require, sides, usual
from worker.models.families.pixart import encode_masked
from worker.models.families.sd3 import THOUSANDTHS


def _encode(pipeline: Any, prompts: Sequence[str], negative: str | None) -> Given:
    # The instruction that the pipeline puts before every prompt, unless told otherwise.
    instruction = usual(pipeline, "complex_human_instruction")
    return encode_masked(pipeline, prompts, negative, complex_human_instruction=instruction)


class Sana(Adapter):
    """A masked prompt; latents of an autoencoder that shrinks images 32 times."""

    needs = (PROMPT_EMBEDS, MASK)
    guidance = "classifier_free"
    default_guidance = 4.5
    text = Text(pipelines=("SanaPipeline",), encode=_encode)

    def __init__(self, setting: Setting) -> None:
        """Read the configuration."""
        no_frames(setting)
        network = setting.network
        distilled = bool(network.get("guidance_embeds"))
        require(setting, not distilled, received="guidance_embeds (Sana-Sprint)", expected="a network that is sampled along its flow")
        blocks = (setting.vae or {}).get("encoder_block_out_channels")
        factor = 2 ** (len(blocks) - 1) if blocks else 32
        self.shape = (network.get("in_channels", 32), *sides(setting, factor=factor, native=network.get("sample_size")))
        self._time_scale = THOUSANDTHS * float(network.get("timestep_scale") or 1.0)

    def predict(self, net: Any, x: Tensor, time: Tensor, given: Given, guidance: float | None) -> Tensor:
        """Call the network."""
        del guidance
        output: Tensor = net(
            x,
            encoder_hidden_states=given[PROMPT_EMBEDS],
            encoder_attention_mask=given[MASK],
            timestep=self._time_scale * time,
            return_dict=False,
        )[0]
        return output[:, : self.shape[0]]
