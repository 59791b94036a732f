"""Pipelines of step-distilled checkpoints (Lightning, Turbo, LCM, schnell ...): a schedule of their base model is wrong for them."""

import re
from collections.abc import Iterator
from typing import Any

_NAMES = re.compile(
    r"(?<![a-z])(lightning|turbo|lcm|schnell|hyper|tcd|dmd2?|sdxs|flash|lightx2v|causvid|distill(ed)?)(?![a-z])", re.IGNORECASE
)
"""Words in the names of checkpoints and adapters that are distilled to few steps."""


def distilled_by(pipe: Any) -> str | None:
    """What shows that a pipeline's network is distilled to few steps, as far as its parts say; None where nothing does.

    Args:
        pipe: a diffusers pipeline, or anything with a diffusers `scheduler`.
    """
    scheduler = type(pipe.scheduler).__name__
    if re.search(r"(?<![A-Za-z])(FlowMatch)?(LCM|TCD|SCM|CMStochasticIterative)Scheduler", scheduler):
        return f"its scheduler is {scheduler}"
    for part in ("unet", "transformer"):
        config = getattr(getattr(pipe, part, None), "config", None) or {}
        if config.get("time_cond_proj_dim") is not None:
            return f"its {part} takes the guidance scale as an input (time_cond_proj_dim), as latent consistency models do"
    return next((f"its name {name!r} says so" for name in _names(pipe) if _NAMES.search(name)), None)


def _names(pipe: Any) -> Iterator[str]:
    """Names of the folder or repository, of its networks', and of the adapters they have."""
    for part in (pipe, getattr(pipe, "unet", None), getattr(pipe, "transformer", None)):
        name = str((getattr(part, "config", None) or {}).get("_name_or_path") or "")
        # Names of folders above it are no names of models.
        yield "/".join(name.rstrip("/").split("/")[-2:])
        yield from getattr(part, "peft_config", None) or {}
