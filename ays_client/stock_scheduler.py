"""The stock scheduler in whose place one with a schedule stands: how a call asks it, and which noise levels it starts and ends at."""

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

KEY = "_schedule"
"""Key of a scheduler's configuration that holds its schedule. Keys with an underscore are kept and never warned about."""


class Asked(NamedTuple):
    """What a pipeline asked of `set_timesteps`."""

    steps: int | None
    device: Any
    others: Mapping[str, Any]

    @property
    def counted(self) -> int | None:
        """Number of steps that it named; None where it left that to the scheduler."""
        own = self.levels
        return self.steps if own is None else len(own[1])

    @property
    def levels(self) -> tuple[str, Any] | None:
        """Levels of its own, and the argument that they came in."""
        return next(((name, self.others[name]) for name in ("sigmas", "timesteps") if self.others.get(name) is not None), None)


class Call(NamedTuple):
    """What is known of the call of a pipeline before it asks its scheduler.

    Attributes:
        steps: its `num_inference_steps`.
        end: its `denoising_end`, a share.
        unknown: why its start will not be known, if so.
    """

    steps: int | None = None
    end: float | None = None
    unknown: str | None = None


def diffusers_class(name: str) -> Any:
    """A class of diffusers by its name: the one place where the client imports it, on behalf of whoever has a pipeline."""
    import diffusers

    return getattr(diffusers, name)


def stock_of(scheduler: Any) -> Any:
    """The stock scheduler behind one with a schedule, configured as that one is visibly."""
    config = {name: value for name, value in scheduler._internal_dict.items() if name != KEY}
    stock = diffusers_class(scheduler._internal_dict[KEY]["replaces"]).from_config(config)
    # Constructors of pipelines change fields that are listed as defaults, which `from_config` would not read.
    stock._internal_dict = type(scheduler._internal_dict)(config)
    return stock


def ask(stock: Any, asked: Asked, *, default: int) -> None:
    """Set a stock scheduler's timesteps as a pipeline asks for them.

    Args:
        stock: the scheduler.
        asked: what was asked; arguments that this class does not have are left out.
        default: number of steps where the pipeline left it to the scheduler.
    """
    known = inspect.signature(stock.set_timesteps).parameters
    others = {name: value for name, value in asked.others.items() if name in known and value is not None}
    given = asked.levels is not None and asked.levels[0] in others
    steps = {} if given else {"num_inference_steps": asked.counted or default}
    stock.set_timesteps(**steps, device=asked.device, **others)


def level_at(stock: Any, index: int) -> tuple[float, float]:
    """The noise level and the time at an index of a stock scheduler's timesteps; beyond the last, those of the last."""
    index = min(index, len(stock.timesteps) - 1)
    time = float(stock.timesteps[index])
    if hasattr(stock, "sigmas"):
        return float(stock.sigmas[index]), time
    signal = float(stock.alphas_cumprod[int(time)])
    return math.sqrt((1 - signal) / signal), time


def cutoff_of(scheduler: Any, share: float) -> int:
    """The time that separates a base model from its refiner, as SDXL's pipelines round it."""
    times = scheduler.config["num_train_timesteps"]
    return round(times - share * times)


def first_below(stock: Any, cutoff: float) -> int:
    """Index of a stock scheduler's first timestep below a time."""
    return int((stock.timesteps >= cutoff).sum())
