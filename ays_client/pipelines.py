"""Diffusers pipelines that run a schedule: `apply_schedule(pipe, schedule)`; their call sites stay as they are."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from types import MethodType
from typing import Any

from ays_client.contract import Schedule
from ays_client.scheduler_rules import same_method, solver_of
from ays_client.schedulers import runs, scheduled, steps_of, with_schedule, without_schedule

_log = logging.getLogger("ays_client")


def apply_schedule(pipe: Any, schedule: Schedule | None, *, swap: bool = False, strict: bool = False) -> Any:
    """Have a pipeline sample by a schedule from now on.

    Cheap when the pipeline runs this schedule already: it may be called before every sample, with what `Schedules.get` returns.

    The number of steps is the schedule's, whatever `num_inference_steps`, `timesteps`, `sigmas`, shift or spacing flags say; `strength`
    of img2img keeps the last part of it. The scheduler's class and method stay, except that DDIM, PNDM and DDPM, which cannot run levels of
    one's own, become the class that runs the schedule's solver (see `ays_client.schedulers`).

    Args:
        pipe: a diffusers pipeline, or anything with a diffusers `scheduler`.
        schedule: the schedule; None: the pipeline's own, as `restore`.
        swap: also change the scheduler's class where it runs another solver than the schedule was made for.
        strict: raise where the schedule cannot be applied; else the pipeline stays as it is, with one warning in the log.

    Returns:
        The pipeline.

    Raises:
        ScheduleRefused: `strict`, and the scheduler cannot run this schedule right; the message names it.
    """
    if schedule is None:
        return restore(pipe)
    if runs(pipe.scheduler, schedule, swap=swap):
        return pipe
    try:
        made = with_schedule(pipe.scheduler, schedule, swap=swap)
    except Exception as error:
        if strict:
            raise
        _warn_once(f"the pipeline keeps its schedule: {error}")
        return pipe
    solver, made_for = solver_of(made), schedule.solver.value
    if solver is not None and not same_method(solver, made_for):
        what = f"the schedule was made for {made_for}, and {type(made).__name__} runs {solver}"
        _warn_once(f"{what}; ask for solver={solver}, or pass swap=True")
    pipe.scheduler = made
    _count_steps(pipe)
    return pipe


def restore(pipe: Any) -> Any:
    """Give a pipeline its own scheduler back, configured as before the first `apply_schedule`.

    Returns:
        The pipeline.
    """
    if scheduled(pipe.scheduler):
        pipe.scheduler = without_schedule(pipe.scheduler)
    vars(pipe).pop("get_timesteps", None)
    return pipe


@contextmanager
def applied(pipe: Any, schedule: Schedule | None, *, swap: bool = False, strict: bool = False) -> Iterator[Any]:
    """A pipeline that samples by a schedule within a `with` block, and has the very scheduler of before after it.

    It changes the pipeline: threads that share one must take turns.

    Args:
        pipe: as for `apply_schedule`.
        schedule: as for `apply_schedule`.
        swap: as for `apply_schedule`.
        strict: as for `apply_schedule`.

    Yields:
        The pipeline.
    """
    before, counted = pipe.scheduler, "get_timesteps" in vars(pipe)
    try:
        yield apply_schedule(pipe, schedule, swap=swap, strict=strict)
    finally:
        pipe.scheduler = before
        if not counted:
            vars(pipe).pop("get_timesteps", None)


@lru_cache(256)
def _warn_once(message: str) -> None:
    _log.warning(message)


def _count_steps(pipe: Any) -> None:
    """Have img2img take its share of the schedule's steps, not of `num_inference_steps`, from which the schedule does not follow."""
    own = getattr(type(pipe), "get_timesteps", None)
    if own is None:
        return

    @wraps(own)
    def get_timesteps(self: Any, num_inference_steps: int, *args: Any, **kwargs: Any) -> Any:
        steps = steps_of(self.scheduler) if scheduled(self.scheduler) else num_inference_steps
        return own(self, steps, *args, **kwargs)

    pipe.get_timesteps = MethodType(get_timesteps, pipe)
