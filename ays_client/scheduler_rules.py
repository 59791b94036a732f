"""How each scheduler class of diffusers takes its levels: data, found by running every one of them against its solver."""

from typing import Any, Literal, NamedTuple


class Rule(NamedTuple):
    """How a class takes its levels.

    Attributes:
        state: what it carries from step to step: `ve` `x_0 + sigma eps`, `vp` the same over `sqrt(1 + sigma^2)` (or a flow model's
            `(1 - t) x_0 + t eps`, as it is configured), `flow` the latter always.
        twice: whether inner levels are listed twice.
        positive_end: whether it divides by the last level, so that it cannot be 0.
        first_order_end: up to how many steps its last step is of first order, so that a level of nearly 0 is as good as 0.
        whole_times: whether it looks the noise levels of images up by whole timesteps.
    """

    state: Literal["ve", "vp", "flow"]
    twice: bool = False
    positive_end: bool = False
    first_order_end: int = 0
    whole_times: bool = False


RULES = {
    "EulerDiscreteScheduler": Rule("ve"),
    "EulerAncestralDiscreteScheduler": Rule("ve"),
    "LMSDiscreteScheduler": Rule("ve"),
    "HeunDiscreteScheduler": Rule("ve", twice=True),
    "DPMSolverMultistepScheduler": Rule("vp"),
    "DPMSolverSinglestepScheduler": Rule("vp"),
    "UniPCMultistepScheduler": Rule("vp"),
    "DEISMultistepScheduler": Rule("vp", positive_end=True, first_order_end=14),
    "SASolverScheduler": Rule("vp", positive_end=True, whole_times=True),
    "EDMEulerScheduler": Rule("ve"),
    "EDMDPMSolverMultistepScheduler": Rule("ve"),
    "FlowMatchEulerDiscreteScheduler": Rule("flow"),
}
"""Classes that keep their method and take the levels."""

SWAPPED = frozenset({"DDIMScheduler", "PNDMScheduler", "DDPMScheduler"})
"""Classes whose step assumes evenly spaced or integer timesteps; the class of the schedule's solver takes their place."""

_INNER = "its steps go through levels between those of a schedule"
_CONSISTENCY = "it samples consistency models, which have a rule of their own for their timesteps"
_PARALLEL = "it assumes evenly spaced timesteps"
_TIME = "its levels are a fixed function of its own time"

REFUSED = {
    "KDPM2DiscreteScheduler": _INNER,
    "KDPM2AncestralDiscreteScheduler": _INNER,
    "DPMSolverSDEScheduler": _INNER,
    "FlowMatchHeunDiscreteScheduler": "it averages slopes in t, where the heun of a schedule averages them in sigma",
    "LCMScheduler": _CONSISTENCY,
    "TCDScheduler": _CONSISTENCY,
    "SCMScheduler": _CONSISTENCY,
    "CMStochasticIterativeScheduler": _CONSISTENCY,
    "FlowMatchLCMScheduler": _CONSISTENCY,
    "DDIMParallelScheduler": _PARALLEL,
    "DDPMParallelScheduler": _PARALLEL,
    "DDIMInverseScheduler": _PARALLEL,
    "DPMSolverMultistepInverseScheduler": "it runs from data to noise",
    "CogVideoXDDIMScheduler": _PARALLEL,
    "CogVideoXDPMScheduler": _PARALLEL,
    "DDPMWuerstchenScheduler": _TIME,
    "IPNDMScheduler": _TIME,
    "CosineDPMSolverMultistepScheduler": _TIME,
}
"""Classes that would run a schedule wrong, and why."""

_MULTISTEP = {
    ("dpmsolver++", 1, "midpoint"): "ddim",
    ("dpmsolver++", 1, "heun"): "ddim",
    ("dpmsolver++", 2, "midpoint"): "dpmpp_2m",
    ("dpmsolver++", 2, "heun"): "res_multistep",
    ("dpmsolver++", 3, "heun"): "dpmpp_3m",
    ("sde-dpmsolver++", 1, "midpoint"): "sddim",
    ("sde-dpmsolver++", 1, "heun"): "sddim",
    ("sde-dpmsolver++", 2, "midpoint"): "dpmpp_2m_sde",
    ("sde-dpmsolver++", 2, "heun"): "dpmpp_2m_sde_heun",
}

_ALWAYS = {
    "EulerDiscreteScheduler": "euler",
    "EDMEulerScheduler": "euler",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "HeunDiscreteScheduler": "heun",
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "sddim",
    "FittedScheduler": "fitted",
}


def running_config(scheduler: Any) -> Any:
    """The configuration that a scheduler's steps follow: with a schedule it is not the visible one."""
    return getattr(scheduler, "_running", None) or scheduler.config


def solver_of(scheduler: Any) -> str | None:
    """The solver that a scheduler runs, by its name in a request; None for one that is not among those.

    Args:
        scheduler: a diffusers scheduler.
    """
    name, config = type(scheduler).__name__, running_config(scheduler)
    if name in {"DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"}:
        return _MULTISTEP.get((config["algorithm_type"], config["solver_order"], config["solver_type"]))
    if name == "UniPCMultistepScheduler":
        if config["solver_type"] != "bh2" or not config["predict_x0"] or config["disable_corrector"] or config["solver_p"] is not None:
            return None
        return {2: "unipc", 3: "unipc_3"}.get(config["solver_order"])
    if name == "DEISMultistepScheduler":
        return "deis" if config["solver_order"] == 3 else None
    return None if config.get("stochastic_sampling") else _ALWAYS.get(name)


def same_method(one: str | None, other: str) -> bool:
    """Whether two solvers are the same method: in these coordinates some names are, without noise and with."""
    first_order = ({"euler", "ddim"}, {"euler_ancestral", "ddpm", "sddim"})
    return one == other or any(one in names and other in names for names in first_order)


def kind_of(scheduler: Any) -> Literal["vp", "edm", "flow"]:
    """The noise process that a scheduler assumes."""
    name, config = type(scheduler).__name__, scheduler.config
    if name.startswith("FlowMatch") or config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        return "flow"
    return "edm" if name.startswith("EDM") or config.get("timestep_type") == "continuous" else "vp"
