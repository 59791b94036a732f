"""Diffusers schedulers that run a schedule: `with_schedule(scheduler, schedule)`.

Arguments of `set_timesteps` round the levels, shift them or drop them, each class in its own way; so the levels are written over
what the stock `set_timesteps` has made. Assigned to an instance they would be lost by `from_config`, which servers call for
every request. So the scheduler becomes a subclass of its class, under the same name, that reads the levels from its configuration:
they survive `from_config`, `deepcopy`, pickling and `from_pipe`, and a stock diffusers that loads the saved folder ignores them.

Nothing here imports torch or diffusers before it is called.
"""

import inspect
import json
import math
from collections.abc import Sequence
from functools import cache, wraps
from typing import Any, NamedTuple

from ays_client.contract import Schedule, Solver
from ays_client.errors import ScheduleRefused
from ays_client.fitted_configuration import configuration_of
from ays_client.formats import model_levels, scheduler_of
from ays_client.scheduler_rules import REFUSED, RULES, SWAPPED, Rule, same_method, solver_of
from ays_client.trust import check_levels, check_scheduler

KEY = "_schedule"
"""Key of a scheduler's configuration that holds its schedule. Keys with an underscore are kept and never warned about."""

_MARK = "_runs_its_schedule"

_NEARLY_ZERO = 1e-6
"""Share of the last level: a first-order step down to it returns the denoised sample to a millionth."""


class Plan(NamedTuple):
    """What a scheduler becomes: another class or its own, changes of its configuration, and how the class takes levels."""

    base: Any
    config: dict[str, object]
    rule: Rule


def with_schedule(scheduler: Any, schedule: Schedule, *, swap: bool = False) -> Any:
    """A scheduler that runs a schedule, whatever it is asked for in `set_timesteps`.

    The class stays, with its method, unless it cannot run a schedule of its own (DDIM, PNDM, DDPM): then it becomes the class that
    runs the schedule's solver. A schedule that ends at 0 ends at a small positive level where the method divides by the last one.

    Args:
        scheduler: a diffusers scheduler; it is not changed.
        schedule: the schedule.
        swap: also change the class where it runs another solver than the schedule was made for.

    Returns:
        A new scheduler, its levels set.

    Raises:
        ScheduleRefused: the class cannot run it right, or the schedule is not one of this model.
    """
    check_levels(schedule)
    stock = without_schedule(scheduler)
    _check_class(type(stock))
    check_scheduler(stock, schedule)
    plan = _plan(stock, schedule, swap=swap)
    made = _durable(plan.base).from_config(stock.config, **plan.config)
    values = _values(plan.rule, schedule, made.config)
    made.register_to_config(**{KEY: values | {"whence": _whence(schedule, swap=swap), "replaces": _saved(stock)}})
    made.set_timesteps(schedule.steps)
    return made


def without_schedule(scheduler: Any) -> Any:
    """The stock scheduler behind one that `with_schedule` made, as it was configured before; another scheduler as it is."""
    if not scheduled(scheduler):
        return scheduler
    import diffusers

    saved = scheduler.config[KEY]["replaces"]
    return getattr(diffusers, saved["_class_name"]).from_config(saved)


def scheduled(scheduler: Any) -> bool:
    """Whether `with_schedule` made it."""
    return _MARK in vars(type(scheduler))


def runs(scheduler: Any, schedule: Schedule, *, swap: bool = False) -> bool:
    """Whether a scheduler runs this very schedule already, applied the same way."""
    return scheduled(scheduler) and scheduler.config[KEY]["whence"] == _whence(schedule, swap=swap)


def _whence(schedule: Schedule, *, swap: bool) -> list[object]:
    return [schedule.id, schedule.sigmas, schedule.timesteps, swap]


def steps_of(scheduler: Any) -> int:
    """Number of steps of a scheduler that `with_schedule` made."""
    steps: int = scheduler.config[KEY]["steps"]
    return steps


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
    return Plan(type(stock), ending, rule)


def _fitted(stock: Any, schedule: Schedule) -> Plan:
    from ays_client.fitted_scheduler import FittedScheduler

    return Plan(FittedScheduler, configuration_of(stock, schedule), Rule("ve" if schedule.kind == "edm" else "vp"))


def _swapped(stock: Any, schedule: Schedule) -> Plan:
    import diffusers

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
    base = getattr(diffusers, name)
    known = inspect.signature(base.__init__).parameters
    ending = _ending(dict.fromkeys(known), to_zero=schedule.terminal == "zero")
    return Plan(base, {key: value for key, value in (ending | config).items() if key in known}, rule)


def _ending(config: Any, *, to_zero: bool) -> dict[str, object]:
    """Changes of a configuration for the last step: at first order to level 0, like any other to a positive level."""
    if "final_sigmas_type" not in config:
        return {}
    ending: dict[str, object] = {"final_sigmas_type": "zero" if to_zero else "sigma_min", "lower_order_final": to_zero}
    return ending | ({"euler_at_final": False} if "euler_at_final" in config else {})


def _values(rule: Rule, schedule: Schedule, config: Any) -> dict[str, object]:
    """What the scheduler is to hold: `sigmas`, `timesteps`, the scale of the starting noise, and the number of steps."""
    if rule.positive_end and schedule.sigmas[-1] == 0:
        schedule = schedule.model_copy(update={"sigmas": _positive_end(rule, schedule), "t": None})
    levels, flow = model_levels(schedule), schedule.kind == "flow"
    times = [config["num_train_timesteps"] * level for level in levels[:-1]] if flow else list(schedule.timesteps)
    scale = 1.0 / math.hypot(1.0, levels[0]) if rule.state == "vp" and not flow else 1.0
    if rule.twice:
        # Heun evaluates every inner level twice: at the end of a step and at the beginning of the next one.
        levels = [levels[0], *_twice(levels[1:-1]), levels[-1]]
        times = [times[0], *_twice(times[1:])]
    return {"sigmas": levels, "timesteps": times, "start": scale * levels[0], "steps": schedule.steps}


def _positive_end(rule: Rule, schedule: Schedule) -> list[float]:
    """The levels with one instead of 0 that is nearly 0, or sigma_min, or where that has been reached already, one more step down."""
    *_, before, last = schedule.sigmas[:-1]
    if schedule.steps <= rule.first_order_end:
        return [*schedule.sigmas[:-1], _NEARLY_ZERO * last]
    end = schedule.sigma_min if schedule.sigma_min < last * (1 - 1e-6) else last * last / before
    return [*schedule.sigmas[:-1], end]


def _twice(values: Sequence[float]) -> list[float]:
    return [value for value in values for _ in range(2)]


def _saved(stock: Any) -> dict[str, object]:
    """A stock scheduler's configuration as JSON can hold it."""
    config: dict[str, object] = json.loads(stock.to_json_string())
    config.pop(KEY, None)
    # Not written by diffusers; without it another class would take this one's defaults for choices.
    return config | {"_use_default_values": list(stock.config.get("_use_default_values", []))}


def _blank(base: Any) -> Any:
    durable: Any = _durable(base)
    return durable.__new__(durable)


@cache
def _durable(base: Any) -> Any:
    """The subclass of a scheduler class that reads its levels from its configuration."""

    @wraps(base.set_timesteps)
    def set_timesteps(self: Any, num_inference_steps: int | None = None, device: Any = None, *_more: Any, **others: Any) -> None:
        if KEY not in self.config:
            # Some constructors call this one.
            base.set_timesteps(self, num_inference_steps, device=device)
            return
        values = self.config[KEY]
        # Its result is overwritten, but it resets the rest of the state. Dynamic shifting is refused without mu.
        shift = {"mu": others.get("mu") or 1.0} if self.config.get("use_dynamic_shifting") else {}
        base.set_timesteps(self, values["steps"], device=device, **shift)
        self.sigmas = self.sigmas.new_tensor(values["sigmas"])
        self.timesteps = self.timesteps.new_tensor(values["timesteps"], dtype=self.sigmas.dtype)
        self.num_inference_steps = values["steps"]

    def set_begin_index(self: Any, begin_index: int = 0) -> None:
        if begin_index >= len(self.timesteps):
            steps = self.config[KEY]["steps"]
            why = f"img2img would begin at step {begin_index}, and the schedule has {steps} steps"
            fix = f"pass num_inference_steps={steps}, or call apply_schedule on the img2img pipeline itself"
            raise ScheduleRefused.of(base.__name__, why=why, fix=fix)
        base.set_begin_index(self, begin_index)

    @wraps(base.step)
    def step(self: Any, *args: Any, eta: float = 0.0, use_clipped_model_output: bool | None = None, **kwargs: Any) -> Any:
        # DDIMPipeline passes them to whatever scheduler it has; this one's randomness is its solver's.
        del eta, use_clipped_model_output
        return base.step(self, *args, **kwargs)

    def reduce(self: Any) -> tuple[object, ...]:
        return _blank, (base,), self.__dict__

    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__, "__reduce__": reduce}
    members: dict[str, object] = {"set_timesteps": set_timesteps, "set_begin_index": set_begin_index, "step": step, _MARK: True}
    if not base.__name__.startswith("FlowMatch"):
        # Those have none: their pipelines never scale the noise they start from.
        members["init_noise_sigma"] = property(lambda self: self.config[KEY]["start"], lambda _self, _value: None)
    return type(base.__name__, (base,), names | members)
