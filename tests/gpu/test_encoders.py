"""Encoders on CUDA: they run there, answer as on the CPU, and leave nothing behind but the conditions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from tests.gpu.twins import QUIET
from tests.models.cases import build, load
from tests.models.encoders import clip_tokenizer
from tests.models.families import FAMILIES, condition_unet

pytestmark = [pytest.mark.gpu, *QUIET]

WIDTH = 512
PROMPTS = ("a red cat", "two boats on a lake, at dusk")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A pipeline whose encoder is much larger than its network, and the folder it is saved to."""
    folder = tmp_path_factory.mktemp("encoders")
    tokenizer = clip_tokenizer()
    tokens = len(tokenizer)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 8, "num_attention_heads": 8}
    ends = {"bos_token_id": tokens - 2, "eos_token_id": tokens - 1, "pad_token_id": tokens - 1}
    encoder = CLIPTextModel(CLIPTextConfig(vocab_size=tokens, **sizes, **ends))
    pipe = build(FAMILIES["sd"], text_encoder=encoder, tokenizer=tokenizer, unet=condition_unet(cross_attention_dim=WIDTH))
    pipe.save_pretrained(folder / "pipeline")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    return pipe, folder


def test_encoders_run_on_the_gpu_and_give_its_memory_back(saved: tuple[Any, Path]):
    pipe, folder = saved
    encoder = sum(parameter.nbytes for parameter in pipe.text_encoder.parameters())
    torch.zeros(8, 8, device="cuda") @ torch.zeros(8, 8, device="cuda")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    model = load(folder, FAMILIES["sd"], 'prompts = "prompts.txt"')
    assert torch.cuda.max_memory_allocated() - allocated >= encoder
    assert torch.cuda.memory_allocated() - allocated < encoder / 2
    assert torch.cuda.memory_reserved() - reserved < encoder
    assert {tensor.device.type for tensor in model.denoiser.given.given.values()} == {"cuda"}


def test_prompts_are_encoded_as_on_the_cpu(saved: tuple[Any, Path]):
    """Products of matrices are in full float32 unless a process says otherwise, and the product does not."""
    pipe, folder = saved
    model = load(folder, FAMILIES["sd"], 'prompts = "prompts.txt"')
    with torch.inference_mode():
        expected, against = pipe.encode_prompt(list(PROMPTS), "cpu", 1, True)
    torch.testing.assert_close(model.denoiser.given.given["prompt_embeds"].cpu(), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model.denoiser.given.unconditional["prompt_embeds"].cpu(), against[:1], rtol=1e-3, atol=1e-3)
