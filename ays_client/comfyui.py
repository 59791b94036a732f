"""What a ComfyUI node needs beside the levels: the sampler of a solver, a check of the model, and a sampler for fitted schedules.

ComfyUI keeps eps and v models in `x_0 + sigma eps` and flow models in `(1 - t) x_0 + t eps`, with t for sigma, so on flow models some of
its samplers are other methods than those of the same name elsewhere (docs/solvers.md has the measured differences). ComfyUI and torch are
imported where a model is given.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ays_client.contract import Schedule, Solver
from ays_client.errors import ScheduleRefused
from ays_client.fitted import sample_fitted, steps_within
from ays_client.formats import model_levels

_RANGE = 0.01
"""Relative: how far the first level may be above the model's sigma_max."""

_EVERY: Mapping[Solver, tuple[str, dict[str, object]]] = {
    Solver.EULER: ("euler", {}),
    Solver.DDIM: ("euler", {}),
    Solver.DPMPP_2S: ("dpmpp_2s_ancestral", {"eta": 0.0}),
    Solver.DPMPP_2M: ("dpmpp_2m_sde", {"eta": 0.0, "solver_type": "midpoint"}),
    Solver.DPMPP_3M: ("dpmpp_3m_sde", {"eta": 0.0}),
    Solver.EXP_HEUN_2_X0: ("exp_heun_2_x0", {}),
    Solver.DPMPP_2M_SDE: ("dpmpp_2m_sde", {"solver_type": "midpoint"}),
    Solver.DPMPP_2M_SDE_HEUN: ("dpmpp_2m_sde", {"solver_type": "heun"}),
    Solver.DPMPP_3M_SDE: ("dpmpp_3m_sde", {}),
    Solver.ER_SDE_1: ("er_sde", {"max_stage": 1}),
    Solver.ER_SDE_2: ("er_sde", {"max_stage": 2}),
    Solver.ER_SDE_3: ("er_sde", {"max_stage": 3}),
}
_NOT_FLOW: Mapping[Solver, tuple[str, dict[str, object]]] = {
    Solver.DPMPP_2M: ("dpmpp_2m", {}),
    Solver.HEUN: ("heun", {}),
    Solver.RES_MULTISTEP: ("res_multistep", {}),
    Solver.IPNDM: ("ipndm", {}),
    Solver.EULER_ANCESTRAL: ("euler_ancestral", {}),
    Solver.DDPM: ("euler_ancestral", {}),
    Solver.SDDIM: ("euler_ancestral", {}),
}


def sampler_name(solver: Solver, *, flow: bool) -> tuple[str, dict[str, object]]:
    """ComfyUI's sampler that runs a solver, as `comfy.samplers.ksampler` takes it: its name, and options.

    Args:
        solver: the solver; `fitted` is run by `sampler_function`.
        flow: whether the model is a flow model.

    Raises:
        ScheduleRefused: ComfyUI has no such sampler for this kind of model.
    """
    found = _EVERY.get(solver) if flow else _NOT_FLOW.get(solver, _EVERY.get(solver))
    if found is None:
        kind = "flow models" if flow else "eps and v models"
        why = f"ComfyUI has no sampler that runs it on {kind}"
        raise ScheduleRefused.of(what=f"solver={solver.value}", why=why, fix="choose the solver dpmpp_2m, or fitted")
    return found


def solvers() -> list[Solver]:
    """Solvers that a node can offer: those that run on some model."""
    return [solver for solver in Solver if solver in _EVERY or solver in _NOT_FLOW or solver is Solver.FITTED]


def check_model(schedule: Schedule, *, flow: bool, sigma_max: float) -> None:
    """Whether a schedule is one for ComfyUI's model: with levels of another kind of model it samples, and its images are noise.

    Args:
        schedule: the schedule.
        flow: whether the model's sampling is a `comfy.model_sampling.CONST`.
        sigma_max: its `sigma_max`, of flow models in t.

    Raises:
        ScheduleRefused: they have another noise process or range.
    """
    first, fix = model_levels(schedule)[0], "name in service_model the model that is loaded here"
    if (schedule.kind == "flow") != flow:
        why = f"received one for a model of kind {schedule.kind}, expected {'flow' if flow else 'vp, ve or edm'}"
        raise ScheduleRefused.of(what="the schedule", why=why, fix=fix)
    if first > sigma_max * (1 + _RANGE):
        why = f"received the highest noise level {first:g}, expected at most {sigma_max:g}"
        raise ScheduleRefused.of(what="the schedule", why=why, fix=fix)


def sigmas_of(schedule: Schedule | None, sampling: Any, steps: int) -> Any:
    """SIGMAS for a model: the schedule's levels, or without one ComfyUI's normal schedule.

    Args:
        schedule: the schedule; None: the service has no answer.
        sampling: the model's `get_model_object("model_sampling")`.
        steps: number of steps of the normal schedule.

    Raises:
        ScheduleRefused: the schedule is for another model.
    """
    import comfy.samplers

    normal = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
    if schedule is None:
        return normal
    check_model(schedule, flow=_flow(sampling), sigma_max=float(sampling.sigma_max))
    return normal.new_tensor(model_levels(schedule))


def sampler_of(schedule: Schedule | None, sampling: Any, solver: Solver | str) -> Any:
    """SAMPLER for a model: the one that runs the solver, without a fitted schedule DPM-Solver++(2M) for `fitted`.

    Args:
        schedule: the schedule; None: the service has no answer.
        sampling: the model's `get_model_object("model_sampling")`.
        solver: the solver that was asked for.

    Raises:
        ScheduleRefused: ComfyUI has no such sampler for this kind of model.
    """
    import comfy.samplers

    if schedule is not None and schedule.weights:
        return comfy.samplers.KSAMPLER(sampler_function(schedule))
    named = Solver.DPMPP_2M if solver == Solver.FITTED else Solver(solver)
    return comfy.samplers.ksampler(*sampler_name(named, flow=_flow(sampling)))


def _flow(sampling: Any) -> bool:
    import comfy.model_sampling

    return isinstance(sampling, comfy.model_sampling.CONST)


def sampler_function(schedule: Schedule) -> Callable[..., Any]:
    """The function of a `comfy.samplers.KSAMPLER` that runs a fitted schedule.

    Given a part of the schedule's levels, by `denoise` below 1 or SplitSigmas, it takes the weights of those steps; it refuses others, and
    another guidance than the schedule's where the guider tells it (`guidance_of`).
    """
    levels, weights = model_levels(schedule), schedule.weights or []

    def sample(
        model: Callable[..., Any],
        x: Any,
        sigmas: Any,
        extra_args: Mapping[str, Any] | None = None,
        callback: Callable[[dict[str, Any]], object] | None = None,
        disable: bool | None = None,
    ) -> Any:
        if len(sigmas) < 2:
            return x
        _check_guidance(schedule, getattr(model, "inner_model", None))
        own = steps_within(levels, sigmas.tolist())
        return sample_fitted(model, x, sigmas, weights[own], extra_args, callback, disable)

    return sample


def guidance_of(guider: Any, *, flow: bool) -> float | None:
    """The guidance that a sampling has, in the unit of `guidance_scale`; None where its guider does not tell.

    The `cfg` of CFGGuider and SamplerCustom, or at `cfg` 1 the guidance that FluxGuidance writes into the positive conditioning. A flow
    model with neither may have its guidance in the network; guiders of two scales have no single one.

    Args:
        guider: a `comfy.samplers.CFGGuider`, the `inner_model` of what a sampler function is given.
        flow: whether the model is a flow model.
    """
    cfg = getattr(guider, "cfg", None)
    if cfg is None or hasattr(guider, "cfg1"):
        return None
    written = [one["guidance"] for one in getattr(guider, "original_conds", {}).get("positive", []) if "guidance" in one]
    if written:
        return float(written[0]) if cfg == 1 else None
    return None if flow and cfg == 1 else float(cfg)


def _check_guidance(schedule: Schedule, guider: Any) -> None:
    """Refuse a fitted schedule of another guidance; one without it is of the model's own, which the guider does not tell."""
    own, given = schedule.guidance_scale, guidance_of(guider, flow=schedule.kind == "flow")
    if own is not None and given is not None and not math.isclose(own, given, rel_tol=1e-6):
        why = f"it was made for guidance_scale={own:g}, and the sampling has {given:g}"
        raise ScheduleRefused.of(what="the fitted schedule", why=why, fix=f"set the guidance to {own:g}, or choose the solver dpmpp_2m")
