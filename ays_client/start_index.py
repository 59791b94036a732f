"""Timesteps that a pipeline slices by an index into the stock schedule's: `scheduler.timesteps[start:]`."""

from functools import cache
from typing import Any


def counting_timesteps(times: Any, scheduler: Any) -> Any:
    """A tensor of times like another, whose slice from a positive index on is the scheduler's `slice_from` of it.

    Args:
        times: the times.
        scheduler: what knows the stock schedule.
    """
    plain: Any = type(times)
    view = times.as_subclass(_view(plain))
    view.scheduler = scheduler
    return view


@cache
def _view(plain: Any) -> Any:
    """The subclass of torch's tensor class; what is computed of one is a plain tensor."""

    def torch_function(_cls: Any, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return plain.__torch_function__(func, (), args, kwargs or {})

    def getitem(self: Any, index: Any) -> Any:
        if isinstance(index, slice) and index.stop is None and index.step is None and (index.start or 0) > 0:
            return self.scheduler.slice_from(index.start)
        return plain.__getitem__(self, index)

    def less(self: Any, other: Any) -> Any:
        self.scheduler.count_in_our_steps()
        return plain.__lt__(self, other)

    def copied(self: Any, _memo: Any) -> Any:
        return self.clone()

    members = {"__torch_function__": classmethod(torch_function), "__getitem__": getitem, "__lt__": less, "__deepcopy__": copied}
    return type("CountingTimesteps", (plain,), members)
