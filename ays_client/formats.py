"""The same levels in other tools' formats: `render(schedule, format)`.

Every tool gets the levels of `Schedule.sigmas`, terminal included, in its own coordinates: ComfyUI and stable-diffusion.cpp
parametrize flow models by `t = sigma / (1 + sigma)`, all the others below by the noise-to-signal ratio. A number in a
string format is the shortest fixed-point text that reads back as the same float: several of these tools parse by a regular
expression that takes the `-5` of `1e-05` for a second number.
"""

import json
from decimal import Decimal

from ays_client.consumers import Format as Format
from ays_client.consumers import check_consumer, takes
from ays_client.contract import Schedule
from ays_client.solvers import CARDS, Solver
from ays_client.webuis import a1111, before_shift, comfyui_node, sdnext


def render(schedule: Schedule, form: Format, *, shift: float | None = None) -> str:
    """Write a schedule in a tool's format.

    Args:
        schedule: the schedule.
        form: the tool.
        shift: of flow models, the shift that the tool will apply: `t` is written as it is before it.

    Returns:
        JSON text, or plain text for `comfyui`, `sdcpp`, `sdnext` and `a1111`.

    Raises:
        ScheduleRefused: the tool cannot run this schedule right, or a shift is given for a model that has none.
    """
    check_consumer(schedule, form)
    schedule = schedule if shift is None else before_shift(schedule, shift)
    match form:
        case Format.JSON:
            return schedule.model_dump_json()
        case Format.DIFFUSERS:
            return json.dumps(diffusers(schedule), allow_nan=False)
        case Format.KDIFFUSION:
            return json.dumps(kdiffusion(schedule), allow_nan=False)
        case Format.COMFYUI:
            return comfyui(schedule)
        case Format.COMFYUI_API:
            return json.dumps(comfyui_node(comfyui(schedule)))
        case Format.SDCPP:
            return sdcpp(schedule)
        case Format.SDNEXT:
            return sdnext(schedule)
        case Format.A1111:
            return a1111(schedule)
        case Format.EDM:
            return json.dumps(edm(schedule), allow_nan=False)


def links(path: str, schedule: Schedule) -> dict[str, str]:
    """Links to the other formats of the schedule at `path`, which may have a query already.

    Args:
        path: URL path of the schedule in JSON.
        schedule: the schedule.

    Returns:
        `{format: link}` for every format but JSON whose tool can run the schedule.
    """
    mark = "&" if "?" in path else "?"
    forms = [form for form in Format if form is not Format.JSON and takes(schedule, form)]
    return {form.value: f"{path}{mark}format={form.value}" for form in forms}


def kdiffusion(schedule: Schedule) -> list[float]:
    """Argument `sigmas` of `k_diffusion.sampling.sample_*`: `steps + 1` noise-to-signal ratios, whatever the model's process."""
    return list(schedule.sigmas)


def edm(schedule: Schedule) -> list[float]:
    """`t_steps` of NVlabs/edm's `edm_sampler` (there `t` is sigma): `steps + 1` levels, to be made a float64 tensor."""
    return list(schedule.sigmas)


def comfyui(schedule: Schedule) -> str:
    """Text for ComfyUI's ManualSigmas node: `14.6146, 6.4745, ..., 0.0`; flow models in `t`, after any shift."""
    return ", ".join(fixed_point(level) for level in model_levels(schedule))


def sdcpp(schedule: Schedule) -> str:
    """Argument of stable-diffusion.cpp's `--sigmas`: `14.6146,6.4745,...,0.0`; flow models in `t`."""
    return ",".join(fixed_point(level) for level in model_levels(schedule))


def diffusers(schedule: Schedule) -> dict[str, object]:
    """What to set on a diffusers scheduler to take exactly these levels.

    Returns:
        `scheduler` (class name; None, which `render` refuses, where diffusers has no class of this method for this kind of model),
        `config` (changes of its configuration), `timesteps` (`steps` floats), `sigmas` (`steps + 1` floats) and `note` (how to apply them).
    """
    scheduler, config = scheduler_of(schedule)
    scale = 1000.0 if schedule.kind == "flow" else 1.0
    sigmas = model_levels(schedule)
    if schedule.kind == "edm":
        # Its classes scale the noise that a pipeline starts from by this, not by the first level.
        config |= {"sigma_max": sigmas[0]}
    if schedule.solver is Solver.DEIS and sigmas[-1] == 0:
        # It divides by the logarithm of the last level; from here on its last step is D to a millionth.
        sigmas[-1] = _NEARLY_ZERO * sigmas[-2]
    return {
        "scheduler": scheduler,
        "config": config,
        "timesteps": [scale * time for time in schedule.timesteps],
        "sigmas": sigmas,
        "note": _NOTES.get(schedule.solver, _NOTE),
    }


def scheduler_of(schedule: Schedule) -> tuple[str | None, dict[str, object]]:
    """The diffusers class that runs the schedule's solver on the schedule's kind of model, if any, and its configuration."""
    card = CARDS[schedule.solver]
    scheduler = card.schedulers.get(schedule.kind)
    config = dict(card.config)
    if config and schedule.kind == "flow":
        config |= {"use_flow_sigmas": True, "flow_shift": 1.0, "prediction_type": "flow_prediction"}
    elif config and schedule.kind != "edm":
        config |= {"use_karras_sigmas": False}
    if schedule.terminal == "sigma_min":
        config |= card.at_sigma_min
    return scheduler, config


def model_levels(schedule: Schedule) -> list[float]:
    """The levels in the coordinate that the model's own tools use: `t` for flow models, else sigma."""
    if schedule.kind == "flow":
        return list(schedule.t) if schedule.t is not None else [sigma / (1.0 + sigma) for sigma in schedule.sigmas]
    return list(schedule.sigmas)


def fixed_point(level: float) -> str:
    """Shortest decimal text without exponent that reads back as `level`; it always has a decimal point."""
    text = format(Decimal(repr(level)), "f")
    return text if "." in text else f"{text}.0"


_NEARLY_ZERO = 1e-6

_APPLY = "call scheduler.set_timesteps({count}), then overwrite scheduler.timesteps and scheduler.sigmas with these values"
_NOTE = f"{_APPLY.format(count='len(timesteps)')}: arguments of set_timesteps round or shift them"
_NOTES = {
    Solver.HEUN: f"{_APPLY.format(count='len(timesteps)')}, every inner one repeated twice as Heun evaluates it twice",
    Solver.DPMPP_2S: f"{_APPLY.format(count='2 * len(timesteps) - 1')}, with the geometric mean of every two successive positive sigmas, "
    "but not of the last step, inserted between them, and its timestep likewise",
}
