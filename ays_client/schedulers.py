"""Diffusers schedulers that run a schedule: `with_schedule(scheduler, schedule)`.

Arguments of `set_timesteps` round the levels, shift them or drop them, each class in its own way; so the levels are written over
what the stock `set_timesteps` has made. Assigned to an instance they would be lost by `from_config`, which servers call for
every request. So the scheduler becomes a subclass of its class, under the same name, that reads the levels from its configuration:
they survive `from_config`, `deepcopy`, pickling and `from_pipe`, and a stock diffusers that loads the saved folder ignores them
(`ays_client.durable`).

Nothing here imports torch or diffusers before it is called.
"""

import inspect
import math
from typing import Any, NamedTuple

from ays_client.contract import Schedule, Solver
from ays_client.durable import made
from ays_client.errors import ScheduleRefused
from ays_client.fitted_configuration import configuration_of
from ays_client.formats import model_levels, scheduler_of
from ays_client.scheduled import Scheduled
from ays_client.scheduler_fields import UNDONE, check_fields
from ays_client.scheduler_rules import REFUSED, RULES, SWAPPED, Rule, same_method, solver_of
from ays_client.stock_scheduler import diffusers_class, stock_of
from ays_client.trust import check_levels, check_scheduler

_NEARLY_ZERO = 1e-6
"""Share of the last level: a first-order step down to it returns the denoised sample to a millionth."""


class Plan(NamedTuple):
    """What a scheduler becomes: another class or its own, changes of its configuration, and how the class takes levels."""

    base: Any
    config: dict[str, object]
    rule: Rule


def with_schedule(scheduler: Any, schedule: Schedule, *, swap: bool = False, strict: bool = False) -> Any:
    """A scheduler that runs a schedule, whatever it is asked for in `set_timesteps`.

    Of img2img it runs the part from the noise level on where the stock scheduler would start. A pipeline of diffusers that is given
    it also computes with the schedule's number of steps (`ays_client.call_steps`).

    The class stays, with its method, unless it cannot run a schedule of its own (DDIM, PNDM, DDPM): then it becomes the class that
    runs the schedule's solver. A schedule that ends at 0 ends at a small positive level where the method divides by the last one.

    Args:
        scheduler: a diffusers scheduler; it is not changed.
        schedule: the schedule.
        swap: also change the class where it runs another solver than the schedule was made for.
        strict: raise `ScheduleRefused` in a call that it cannot serve; else the stock scheduler runs that call, with one warning.

    Returns:
        A new scheduler, its levels set.

    Raises:
        ScheduleRefused: the class cannot run it right, or the schedule is not one of this model.
    """
    check_levels(schedule)
    stock = without_schedule(scheduler)
    _check_class(type(stock))
    check_fields(stock)
    check_scheduler(stock, schedule)
    plan = _plan(stock, schedule, swap=swap)
    values = _values(plan.rule, schedule, stock.config["num_train_timesteps"])
    how = {"replaces": type(stock).__name__, "changes": plan.config, "strict": strict, "whence": _whence(schedule, swap, strict)}
    return made(plan.base, stock, values | how)


def without_schedule(scheduler: Any) -> Any:
    """The stock scheduler behind one that `with_schedule` made, as it was configured before; another scheduler as it is."""
    return stock_of(scheduler) if scheduled(scheduler) else scheduler


def scheduled(scheduler: Any) -> bool:
    """Whether `with_schedule` made it."""
    return isinstance(scheduler, Scheduled)


def runs(scheduler: Any, schedule: Schedule, *, swap: bool = False, strict: bool = False) -> bool:
    """Whether a scheduler runs this very schedule already, applied the same way."""
    return isinstance(scheduler, Scheduled) and scheduler.schedule_values["whence"] == _whence(schedule, swap, strict)


def steps_of(scheduler: Any) -> int:
    """Number of steps of a scheduler that `with_schedule` made."""
    return len(scheduler.schedule_values["timesteps"])


def _whence(schedule: Schedule, swap: bool, strict: bool) -> list[object]:
    return [schedule.id, schedule.sigmas, schedule.timesteps, swap, strict]


def _check_class(base: Any) -> None:
    name = base.__name__
    if name in REFUSED:
        raise ScheduleRefused.of(name, why=REFUSED[name], fix="use EulerDiscreteScheduler or DPMSolverMultistepScheduler")
    if name not in set(RULES) | SWAPPED or not base.__module__.startswith("diffusers."):
        fix = f"use one of {', '.join(RULES)}"
        raise ScheduleRefused.of(name, why="it is not known how this class takes its levels", fix=fix)


def _plan(stock: Any, schedule: Schedule, *, swap: bool) -> Plan:
    name = type(stock).__name__
    if schedule.solver is Solver.FITTED:
        return _fitted(stock, schedule)
    if name in SWAPPED or (swap and not same_method(solver_of(stock), schedule.solver.value)):
        return _swapped(stock, schedule)
    if name == "DPMSolverSinglestepScheduler" and schedule.nfe != schedule.steps:
        why = f"it would spend {schedule.steps} evaluations on a schedule of {schedule.nfe}"
        raise ScheduleRefused.of(name, why=why, fix="ask for a schedule of solver=dpmpp_2m, and pass swap=True")
    rule = RULES[name]
    if stock.config.get("algorithm_type", "") in {"dpmsolver", "sde-dpmsolver"}:
        rule = rule._replace(positive_end=True)
    ending = _ending(stock.config, to_zero=schedule.terminal == "zero" and not rule.positive_end)
    if rule.first_order_end:
        ending["lower_order_final"] = schedule.terminal == "zero"
    if solver_of(stock) == "dpmpp_3m":
        # It lowers its order for the last step alone.
        ending["lower_order_final"] = False
    return Plan(type(stock), _undone(type(stock)) | ending, rule)


def _fitted(stock: Any, schedule: Schedule) -> Plan:
    from ays_client.fitted_scheduler import FittedScheduler

    return Plan(FittedScheduler, configuration_of(stock, schedule), Rule("ve" if schedule.kind == "edm" else "vp"))


def _swapped(stock: Any, schedule: Schedule) -> Plan:
    # The same method; this class keeps the scaled state of DDIM, which not every pipeline would scale for Euler's.
    euler = schedule.solver is Solver.EULER and schedule.kind == "vp"
    name, config = scheduler_of(schedule.model_copy(update={"solver": Solver.DDIM}) if euler else schedule)
    rule, own = None if name is None else RULES.get(name), RULES.get(type(stock).__name__)
    # A pipeline made for a scaled state may not scale it for a scheduler that needs it.
    scaled = rule is not None and rule.state == "ve" and (own is None or own.state != "ve")
    # 2S wants midpoints, and their timesteps, between the levels.
    if name is None or rule is None or scaled or schedule.solver is Solver.DPMPP_2S:
        why = f"no scheduler of its kind runs {schedule.solver.value}"
        raise ScheduleRefused.of(type(stock).__name__, why=why, fix="ask for a schedule of solver=dpmpp_2m")
    if schedule.kind == "edm":
        # Stable Video Diffusion's Euler preconditions like EDM with sigma_data = 1.
        config |= {"sigma_data": stock.config.get("sigma_data", 1.0)}
    base = diffusers_class(name)
    known = inspect.signature(base.__init__).parameters
    ending = _ending(dict.fromkeys(known), to_zero=schedule.terminal == "zero")
    config = _undone(base) | {key: value for key, value in (ending | config).items() if key in known}
    return Plan(base, config, rule)


def _undone(base: Any) -> dict[str, object]:
    """Changes of a configuration that keep `set_timesteps` from what the levels replace, and what it may fail at."""
    known = inspect.signature(base.__init__).parameters
    return {name: value for name, value in UNDONE.items() if name in known}


def _ending(config: Any, *, to_zero: bool) -> dict[str, object]:
    """Changes of a configuration for the last step: at first order to level 0, like any other to a positive level."""
    if "final_sigmas_type" not in config:
        return {}
    ending: dict[str, object] = {"final_sigmas_type": "zero" if to_zero else "sigma_min", "lower_order_final": to_zero}
    return ending | ({"euler_at_final": False} if "euler_at_final" in config else {})


def _values(rule: Rule, schedule: Schedule, train_steps: int) -> dict[str, object]:
    """What the scheduler is to hold: `sigmas`, `timesteps`, the scale of the starting noise, and whether inner levels are listed twice."""
    if rule.positive_end and schedule.sigmas[-1] == 0:
        schedule = schedule.model_copy(update={"sigmas": _positive_end(rule, schedule), "t": None})
    levels, flow = model_levels(schedule), schedule.kind == "flow"
    times = [train_steps * level for level in levels[:-1]] if flow else list(schedule.timesteps)
    scale = 1.0 / math.hypot(1.0, levels[0]) if rule.state == "vp" and not flow else 1.0
    guidance = None if schedule.weights is None else schedule.guidance_scale
    return {
        "guidance_scale": guidance,
        "sigmas": levels,
        "timesteps": times,
        "start": scale * levels[0],
        "twice": rule.twice,
        "whole_times": rule.whole_times,
    }


def _positive_end(rule: Rule, schedule: Schedule) -> list[float]:
    """The levels with one instead of 0 that is nearly 0, or sigma_min, or where that has been reached already, one more step down."""
    *_, before, last = schedule.sigmas[:-1]
    if schedule.steps <= rule.first_order_end:
        return [*schedule.sigmas[:-1], _NEARLY_ZERO * last]
    end = schedule.sigma_min if schedule.sigma_min < last * (1 - 1e-6) else last * last / before
    return [*schedule.sigmas[:-1], end]
