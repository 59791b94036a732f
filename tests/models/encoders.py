"""Tiny text encoders of random weights, with tokenizers that spell letter by letter."""

from collections.abc import Callable
from typing import Any

from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-',."


def clip_tokenizer() -> CLIPTokenizer:
    tokens = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77)


def clip(kind: type = CLIPTextModel, *, width: int = 16, projection: int = 12) -> Any:
    tokens = 2 * len(_LETTERS) + 2
    sizes = {"hidden_size": width, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokens - 2, "eos_token_id": tokens - 1, "pad_token_id": tokens - 1}
    return kind(CLIPTextConfig(vocab_size=tokens, projection_dim=projection, **sizes, **ends))


def t5_tokenizer() -> T5Tokenizer:
    tokens = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in _LETTERS)]
    return T5Tokenizer(vocab=tokens, extra_ids=0, model_max_length=512)


def t5(kind: type = T5EncoderModel, config: type = T5Config) -> Any:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return kind(config(vocab_size=len(_LETTERS) + 4, **sizes))


def gemma() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    return Gemma2Model(Gemma2Config(vocab_size=len(_LETTERS) + 4, num_key_value_heads=1, pad_token_id=0, bos_token_id=1, **sizes))


def _one() -> dict[str, Any]:
    return {"text_encoder": clip(), "tokenizer": clip_tokenizer()}


def _two() -> dict[str, Any]:
    second = {"text_encoder_2": clip(CLIPTextModelWithProjection, width=8), "tokenizer_2": clip_tokenizer()}
    return {"text_encoder": clip(width=8), "tokenizer": clip_tokenizer()} | second


def _two_projected() -> dict[str, Any]:
    first, second = (clip(CLIPTextModelWithProjection, width=8, projection=6) for _ in range(2))
    return {"text_encoder": first, "text_encoder_2": second, "tokenizer": clip_tokenizer(), "tokenizer_2": clip_tokenizer()}


def _clip_and_t5() -> dict[str, Any]:
    return {"text_encoder": clip(width=12), "tokenizer": clip_tokenizer(), "text_encoder_2": t5(), "tokenizer_2": t5_tokenizer()}


def _t5() -> dict[str, Any]:
    return {"text_encoder": t5(), "tokenizer": t5_tokenizer()}


ENCODERS: dict[str, Callable[[], dict[str, Any]]] = {
    "sd": _one,
    "sdxl": _two,
    "sd3": _two_projected,
    "flux": _clip_and_t5,
    "pixart": _t5,
    "sana": lambda: {"text_encoder": gemma(), "tokenizer": t5_tokenizer()},
    "wan": lambda: {"text_encoder": t5(UMT5EncoderModel, UMT5Config), "tokenizer": t5_tokenizer()},
    "ltx": _t5,
}
"""Components that encode the prompts of each family of text."""
