"""Diffusers pipelines that run a schedule: `apply_schedule(pipe, schedule)`; their call sites stay as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ays_client.contract import Schedule, Source
from ays_client.distilled import distilled_by
from ays_client.errors import ScheduleRefused
from ays_client.notices import warn_once
from ays_client.scheduler_rules import same_method, solver_of
from ays_client.schedulers import runs, scheduled, with_schedule, without_schedule

_IT = "the schedule"


def apply_schedule(pipe: Any, schedule: Schedule | None, *, swap: bool = False, strict: bool = False) -> Any:
    """Have a pipeline sample by a schedule from now on.

    Cheap when the pipeline runs this schedule already: it may be called before every sample, with what `Schedules.get` returns.

    The number of steps is the schedule's, whatever `num_inference_steps`, `timesteps`, `sigmas`, shift or spacing flags say. `strength`,
    `denoising_start` and `denoising_end` mean the noise level that they mean without it, at the call's `num_inference_steps`: the schedule
    starts, or ends, at exactly that level. The scheduler's class and method stay, except that DDIM, PNDM and DDPM, which cannot run levels
    of one's own, become the class that runs the schedule's solver (see `ays_client.schedulers`).

    Args:
        pipe: a diffusers pipeline, or anything with a diffusers `scheduler`.
        schedule: the schedule; None: the pipeline's own, as `restore`.
        swap: also change the scheduler's class where it runs another solver than the schedule was made for.
        strict: raise where the schedule cannot be applied, or cannot serve a call; else the pipeline stays as it is, or runs that call
            by its own schedule, with one warning in the log.

    Returns:
        The pipeline.

    Raises:
        ScheduleRefused: `strict`, and the scheduler cannot run this schedule right; the message names it.
    """
    if schedule is None:
        return restore(pipe)
    if runs(pipe.scheduler, schedule, swap=swap, strict=strict):
        return pipe
    try:
        _check_distilled(pipe, schedule)
        made = with_schedule(pipe.scheduler, schedule, swap=swap, strict=strict)
    except Exception as error:
        if strict:
            raise
        warn_once(f"the pipeline keeps its schedule: {error}")
        return pipe
    solver, made_for = solver_of(made), schedule.solver.value
    if solver is not None and not same_method(solver, made_for):
        what = f"the schedule was made for {made_for}, and {type(made).__name__} runs {solver}"
        warn_once(f"{what}; ask for solver={solver}, or pass swap=True")
    pipe.scheduler = made
    return pipe


def restore(pipe: Any) -> Any:
    """Give a pipeline its own scheduler back, configured as before the first `apply_schedule`.

    Returns:
        The pipeline.
    """
    if scheduled(pipe.scheduler):
        pipe.scheduler = without_schedule(pipe.scheduler)
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
    before = pipe.scheduler
    try:
        yield apply_schedule(pipe, schedule, swap=swap, strict=strict)
    finally:
        pipe.scheduler = before


def _check_distilled(pipe: Any, schedule: Schedule) -> None:
    """Refuse levels that were not found for this very network where it knows few noise levels alone."""
    shown = None if schedule.source is Source.OPTIMIZED else distilled_by(pipe)
    if shown is not None:
        why = f"the pipeline is distilled to few steps ({shown}), and a {schedule.source.value} schedule is one of the model before that"
        raise ScheduleRefused.of(_IT, why=why, fix="keep the scheduler and the steps that the checkpoint's card names")
