"""Schedules for web user interfaces: Stable Diffusion web UI and Forge, SD.Next, ComfyUI's API."""

from collections.abc import Sequence

from ays_client.contract import Schedule
from ays_client.errors import ScheduleRefused

_A1111 = '''"""Scheduler "{label}" for Stable Diffusion web UI and Forge.

Save this file in their folder scripts/, then choose the scheduler and {steps} steps.
"""

import math

import torch
from modules import sd_schedulers

SIGMAS = {sigmas}


def {name}(n, sigma_min, sigma_max, device):
    """The levels for {steps} steps as they are; for another number log-linear interpolation, which is not what was optimized."""
    end = SIGMAS[-1:] if SIGMAS[-1] == 0 else []
    knots = SIGMAS[: len(SIGMAS) - len(end)]
    count = n + 1 - len(end)
    places = [index * (len(knots) - 1) / max(count - 1, 1) for index in range(count)]
    rest = [(int(place), place - int(place)) for place in places]
    levels = [math.exp((1 - share) * math.log(knots[at]) + share * math.log(knots[min(at + 1, len(knots) - 1)])) for at, share in rest]
    return torch.FloatTensor(SIGMAS if n == len(SIGMAS) - 1 else levels + end).to(device)


scheduler = sd_schedulers.Scheduler("{name}", "{label}", {name})
# The web UI runs this file again when its scripts are reloaded.
sd_schedulers.schedulers[:] = [other for other in sd_schedulers.schedulers if other.name != scheduler.name] + [scheduler]
sd_schedulers.schedulers_map |= {{scheduler.name: scheduler, scheduler.label: scheduler}}
'''


def a1111(schedule: Schedule) -> str:
    """A script for Stable Diffusion web UI and Forge that adds the schedule to their list of schedulers.

    Their own "Align Your Steps" interpolates `n` levels and appends 0, so that its 10 steps are not the published ones; this function
    returns exactly the `steps + 1` levels when it is asked for `steps`.

    Raises:
        ScheduleRefused: a flow model, whose levels these tools shift themselves.
    """
    if schedule.kind == "flow":
        raise ScheduleRefused.of(what="format a1111", why="these tools shift the levels of flow models", fix="use ComfyUI or SD.Next")
    name = "ays_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in schedule.model)
    name = f"{name}_{schedule.solver.value}_{schedule.steps}"
    label = f"AYS {schedule.model}, {schedule.solver.value}, {schedule.steps} steps"
    return _A1111.format(name=name, label=label, steps=schedule.steps, sigmas=schedule.sigmas)


def sdnext(schedule: Schedule) -> str:
    """Text for SD.Next's "Timesteps override": whole numbers only, strictly decreasing, such as `999, 845, ..., 13`.

    SD.Next drops whatever is not all digits. Where two timesteps round to the same number the lower one gives way. Flow models: `1000 t`,
    which SD.Next passes on as levels before the shift.

    Raises:
        ScheduleRefused: the model's time is not a number of steps.
    """
    if schedule.kind not in {"vp", "flow"}:
        why = f"the time of a model of kind {schedule.kind} is no whole number"
        raise ScheduleRefused.of(what="format sdnext", why=why, fix="use the format kdiffusion or diffusers")
    scale = 1000.0 if schedule.kind == "flow" else 1.0
    return ", ".join(str(time) for time in separate([scale * time for time in schedule.timesteps]))


def separate(times: Sequence[float]) -> list[int]:
    """Decreasing times as strictly decreasing whole numbers >= 0, each as near as its predecessors leave it."""
    whole: list[int] = []
    for index, time in enumerate(times):
        highest = whole[-1] - 1 if whole else round(time)
        whole.append(max(min(round(time), highest), len(times) - 1 - index))
    # Those that were lifted to leave room below may have met their predecessors.
    for index in range(len(whole) - 2, -1, -1):
        whole[index] = max(whole[index], whole[index + 1] + 1)
    return whole


def comfyui_node(levels: str) -> dict[str, object]:
    """A node of ComfyUI's API graph: a value of the object that `POST /prompt` takes; its output 0 goes into SamplerCustom.

    Args:
        levels: the text of the node's field, as `ays_client.formats.comfyui` writes it.
    """
    return {"class_type": "ManualSigmas", "inputs": {"sigmas": levels}}


def before_shift(schedule: Schedule, shift: float) -> Schedule:
    """A flow schedule in the values that become its own when a tool shifts them.

    `t / (k - (k - 1) t)`, the inverse of the shift `k t / (1 + (k - 1) t)` (Esser et al. 2024, https://arxiv.org/abs/2403.03206, 5.3.2).

    Args:
        schedule: a schedule of a flow model.
        shift: k of the tool, such as `shift` in the scheduler's configuration, positive.

    Raises:
        ScheduleRefused: the model is no flow model.
    """
    if schedule.kind != "flow" or schedule.t is None:
        raise ScheduleRefused.of(what="a shift", why=f"the model's kind is {schedule.kind}, not flow", fix="leave the shift out")

    def undo(t: float) -> float:
        return t / (shift - (shift - 1.0) * t)

    return schedule.model_copy(update={"t": [undo(t) for t in schedule.t], "timesteps": [undo(t) for t in schedule.timesteps]})
