"""Calls of diffusers pipelines whose scheduler carries a schedule: what they compute from `num_inference_steps` follows the schedule.

Skip-layer guidance, adapter factors and progress bars count in a number that pipelines take from their caller and never from their
scheduler. So a pipeline that is given a scheduler with a schedule becomes a subclass of its class, under the same name, that calls it
with the schedule's number; given another scheduler, it is of its own class again. Pipelines are given their scheduler by assignment of
an attribute, also in `from_pipe` and in constructors, and that is where it is noticed.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

from ays_client.errors import ScheduleRefused
from ays_client.notices import warn_once
from ays_client.scheduled import Scheduled
from ays_client.stock_scheduler import Call, cutoff_of, diffusers_class, first_below, stock_of

_SAME = 1e-6
_GUIDANCE = ("guidance_scale", "max_guidance_scale")
"""Arguments that guidance comes in; of videos that begin with an image it grows over the frames, to the latter."""

_IT = "the schedule"


@cache
def follow_schedulers() -> None:
    """From now on pipelines of diffusers follow the schedule of the scheduler that they are given. Once per process."""
    pipelines = diffusers_class("DiffusionPipeline")
    assign = pipelines.__setattr__

    @wraps(assign)
    def setattr_and_follow(self: Any, name: str, value: Any) -> None:
        assign(self, name, value)
        if name == "scheduler":
            own = vars(type(self)).get("_follows", type(self))
            self.__class__ = _following(own) if isinstance(value, Scheduled) else own

    pipelines.__setattr__ = setattr_and_follow


@cache
def _following(own: Any) -> Any:
    """The subclass of a pipeline class that counts in the steps of its scheduler's schedule."""
    names = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__, "__reduce__": _reduced}
    members: dict[str, Any] = names | {"_follows": own, "__call__": _calling(own.__call__, starts="get_timesteps" in dir(own))}
    if hasattr(own, "get_timesteps"):
        members["get_timesteps"] = _starting(own.get_timesteps)
    return type(own.__name__, (own,), members)


def _calling(own: Any, *, starts: bool) -> Any:
    """A pipeline's `__call__` with the schedule's number of steps; with the caller's where `get_timesteps` finds img2img's start in it."""
    signature = inspect.signature(own)
    counted = "num_inference_steps" in signature.parameters and not (starts and "strength" in signature.parameters)

    @wraps(own)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self.scheduler, Scheduled):  # A class of one's own that extends this one.
            return own(self, *args, **kwargs)
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:  # Its own message is the better one.
            return own(self, *args, **kwargs)
        bound.apply_defaults()
        asked, scheduler = bound.arguments, self.scheduler
        if _made_for_other_guidance(scheduler, next((asked[name] for name in _GUIDANCE if name in asked), None)):
            with _without(self, stock_of(scheduler)):
                return own(self, *args, **kwargs)
        end = asked.get("denoising_end")
        between = isinstance(end, float) and 0 < end < 1
        with scheduler.called(Call(steps=asked.get("num_inference_steps"), end=end if between else None)):
            if counted:
                asked["num_inference_steps"] = len(scheduler.schedule_values["timesteps"])
            return own(*bound.args, **bound.kwargs)

    return call


def _starting(own: Any) -> Any:
    """A pipeline's `get_timesteps` with the schedule's part that starts at the level that it would start at with the stock schedule."""
    signature = inspect.signature(own)

    @wraps(own)
    def get_timesteps(self: Any, *args: Any, **kwargs: Any) -> Any:
        scheduler = self.scheduler
        if not isinstance(scheduler, Scheduled):
            return own(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        asked = bound.arguments
        if "sigmas" in asked:  # It is called before the scheduler is asked, and cuts levels that it gives to it.
            found = own(self, *args, **kwargs)
            if len(found[1]) < len(asked["timesteps"]):
                scheduler.start_unknown(f"{type(self).__name__} starts among levels of its own")
            return found
        stock = scheduler.as_asked()
        asked["num_inference_steps"] = scheduler.steps_asked()
        if "timesteps" in asked:
            asked["timesteps"] = stock.timesteps
        with _without(self, stock):
            timesteps, steps = own(*bound.args, **bound.kwargs)
        if scheduler.stands_aside:
            return timesteps, steps
        share = asked.get("denoising_start")
        index = len(stock.timesteps) - len(timesteps) if share is None else first_below(stock, cutoff_of(stock, share))
        scheduler.begin(index)
        return (timesteps, steps) if scheduler.stands_aside else (scheduler.timesteps, scheduler.steps)

    return get_timesteps


def _made_for_other_guidance(scheduler: Any, asked: Any) -> bool:
    """Whether the schedule holds for one guidance alone, and the call has another."""
    values = scheduler.schedule_values
    own = values.get("guidance_scale")
    if own is None or not isinstance(asked, int | float) or abs(own - asked) <= _SAME:
        return False
    why = f"the fitted schedule was made for guidance_scale={own:g}, and the call has {asked:g}"
    if values["strict"]:
        raise ScheduleRefused.of(_IT, why=why, fix=f"ask for a schedule of guidance_scale={asked:g}")
    warn_once(f"the pipeline's own schedule runs the call: {why}")
    return True


@contextmanager
def _without(pipe: Any, stock: Any) -> Iterator[None]:
    """A block in which a pipeline has another scheduler, and is not told so."""
    before = pipe.scheduler
    vars(pipe)["scheduler"] = stock
    try:
        yield
    finally:
        vars(pipe)["scheduler"] = before


def _reduced(self: Any) -> tuple[object, ...]:
    """Pickled by the class that it extends: the subclass has no name of its own."""
    return _blank, (self._follows,), self.__dict__


def _blank(own: Any) -> Any:
    following: Any = _following(own)
    return following.__new__(following)
