"""Scheduler classes that carry a schedule: subclasses of diffusers' own, under the same names.

The schedule stands in the scheduler's configuration, under one key, so that it survives `from_config`, `deepcopy`, pickling and
`from_pipe`. The rest of that configuration is the stock one, whatever the class needs to run the levels: another scheduler made of it is
what it would be without us.
"""

import inspect
from collections.abc import Mapping
from functools import cache, wraps
from typing import Any

from ays_client.call_steps import follow_schedulers
from ays_client.scheduled import Scheduled
from ays_client.stock_scheduler import KEY, diffusers_class

_REPLACED = ("set_timesteps", "set_begin_index", "step", "scale_model_input", "add_noise", "scale_noise")
"""Methods whose place one of `Scheduled` takes; the class of a stock scheduler may have had those that a class lacks."""


def made(base: Any, stock: Any, values: Mapping[str, Any]) -> Any:
    """A scheduler with a schedule.

    Args:
        base: its class of diffusers.
        stock: the stock scheduler whose place it takes.
        values: what stands under `KEY`, with `changes`, those of the configuration that the levels need.
    """
    known = inspect.signature(base.__init__).parameters
    # What another class would not know, it would warn about.
    config = {name: value for name, value in stock.config.items() if name in known or name.startswith("_")}
    scheduler = base.from_config.__func__(durable(base), config, **values["changes"])
    scheduler._running = scheduler._internal_dict
    scheduler._internal_dict = type(stock._internal_dict)(dict(stock._internal_dict) | {KEY: dict(values)})
    scheduler.set_timesteps(len(values["timesteps"]))
    return scheduler


@cache
def durable(base: Any) -> Any:
    """The subclass of a scheduler class that carries a schedule; where there is one, pipelines follow it."""
    follow_schedulers()

    def from_config(_cls: Any, /, config: Any = None, return_unused_kwargs: bool = False, **changes: Any) -> Any:
        if KEY not in (config or {}):
            return base.from_config(config, return_unused_kwargs, **changes)
        plain = {name: value for name, value in config.items() if name != KEY}
        stock = diffusers_class(config[KEY]["replaces"]).from_config(plain, **changes)
        copy = made(base, stock, config[KEY])
        return (copy, {}) if return_unused_kwargs else copy

    names = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_base": base,
        "__reduce__": _reduced,
    }
    members: dict[str, Any] = names | {"from_config": classmethod(from_config)}
    for name in _REPLACED:
        ours = getattr(Scheduled, f"_{name}")
        members[name] = _signed(ours, getattr(base, name, ours))
    if not base.__name__.startswith("FlowMatch"):
        # Those have none: their pipelines never scale the noise they start from.
        members["init_noise_sigma"] = property(_starting_noise, lambda _self, _value: None)
    return type(base.__name__, (Scheduled, base), members)


def _reduced(self: Any) -> tuple[object, ...]:
    """Pickled by the class that it extends: the subclass has no name of its own."""
    return _blank, (self._base,), self.__dict__


def _blank(base: Any) -> Any:
    extended: Any = durable(base)
    return extended.__new__(extended)


def _starting_noise(self: Any) -> Any:
    return self._stock.init_noise_sigma if self.stands_aside else self.schedule_values["start"]


def _signed(ours: Any, own: Any) -> Any:
    """A method under the signature of the one it replaces, by which pipelines decide what to pass."""

    @wraps(own)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    return method
