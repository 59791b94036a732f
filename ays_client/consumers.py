"""Which solvers the tool behind a format runs as they were optimized, by kind of model: data, and the check of it.

A tool that steps a flow model in t, not in sigma, runs another method under the same name as soon as a step is not linear in the level;
docs/solvers.md has the measured differences.
"""

from collections.abc import Mapping
from enum import StrEnum

from ays_client.contract import Schedule, Solver
from ays_client.errors import ScheduleRefused
from ays_client.solvers import CARDS


class Format(StrEnum):
    """A way to write a schedule down, by the tool that reads it."""

    JSON = "json"
    DIFFUSERS = "diffusers"
    KDIFFUSION = "kdiffusion"
    COMFYUI = "comfyui"
    COMFYUI_API = "comfyui_api"
    SDCPP = "sdcpp"
    SDNEXT = "sdnext"
    A1111 = "a1111"
    EDM = "edm"

    @property
    def media_type(self) -> str:
        """Media type of the rendered text."""
        text = {Format.COMFYUI, Format.SDCPP, Format.SDNEXT, Format.A1111}
        return "text/plain; charset=utf-8" if self in text else "application/json"


_EULER = frozenset({Solver.EULER, Solver.DDIM})
_ANCESTRAL = frozenset({Solver.EULER_ANCESTRAL, Solver.DDPM, Solver.SDDIM})
_ER_SDE = frozenset({Solver.ER_SDE_1, Solver.ER_SDE_2, Solver.ER_SDE_3})
_DPM = frozenset({Solver.DPMPP_2S, Solver.DPMPP_2M, Solver.DPMPP_3M, Solver.DPMPP_2M_SDE, Solver.DPMPP_2M_SDE_HEUN, Solver.DPMPP_3M_SDE})
_COMFYUI_FLOW = _EULER | _ER_SDE | _DPM | {Solver.EXP_HEUN_2_X0}
_COMFYUI = _COMFYUI_FLOW | _ANCESTRAL | {Solver.HEUN, Solver.RES_MULTISTEP, Solver.IPNDM}
# Functions of another library than k-diffusion itself name it in brackets after a blank.
_KDIFFUSION = frozenset(solver for solver, card in CARDS.items() if card.kdiffusion and " (" not in card.kdiffusion)
_TAKES_TIMESTEPS = frozenset({"EulerDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"})
_OF_SOLVER_TYPE = frozenset({Solver.RES_MULTISTEP, Solver.DPMPP_2M_SDE_HEUN})
"""Those that differ by diffusers' `solver_type` from others."""
_SDNEXT = frozenset(solver for solver, card in CARDS.items() if card.schedulers.get("vp") in _TAKES_TIMESTEPS) - _OF_SOLVER_TYPE
_WEB_UI = _EULER | _ANCESTRAL | {Solver.HEUN, Solver.DPMPP_2M, Solver.DPMPP_2M_SDE, Solver.DPMPP_2M_SDE_HEUN}

_RUNS: Mapping[Format, tuple[str, frozenset[Solver], frozenset[Solver]]] = {
    # k-diffusion steps every model in sigma.
    Format.KDIFFUSION: ("k-diffusion", _KDIFFUSION, _KDIFFUSION),
    Format.COMFYUI: ("ComfyUI", _COMFYUI, _COMFYUI_FLOW),
    Format.COMFYUI_API: ("ComfyUI", _COMFYUI, _COMFYUI_FLOW),
    Format.SDCPP: ("stable-diffusion.cpp", _EULER | _ANCESTRAL | {Solver.HEUN, Solver.DPMPP_2M}, _EULER),
    # It passes `timesteps=`, of flow models `sigmas=`, to the scheduler's set_timesteps, and names no sampler by its solver_type.
    Format.SDNEXT: ("SD.Next", _SDNEXT, frozenset({Solver.EULER})),
    # Their DPM++ 3M SDE drops the level before the last, and DPM++ 2S a adds noise.
    Format.A1111: ("Stable Diffusion web UI", _WEB_UI, frozenset()),
    Format.EDM: ("NVlabs/edm", _EULER | {Solver.HEUN}, _EULER | {Solver.HEUN}),
}
"""The tool's name; solvers that it runs on models whose level is sigma, and on flow models."""


def runs_solver(form: Format, solver: Solver, kind: str) -> bool:
    """Whether the tool of a format runs a solver on a kind of model.

    Args:
        form: the format.
        solver: the solver.
        kind: kind of the model, `ve`, `vp`, `edm` or `flow`.
    """
    if form is Format.JSON:
        return True
    if form is Format.DIFFUSERS:
        return kind in CARDS[solver].schedulers
    _, of_sigma, of_flow = _RUNS[form]
    return solver in (of_flow if kind == "flow" else of_sigma)


def takes(schedule: Schedule, form: Format) -> bool:
    """Whether the tool of a format can run a schedule."""
    return runs_solver(form, schedule.solver, schedule.kind) and not _closes_otherwise(schedule, form)


def _closes_otherwise(schedule: Schedule, form: Format) -> bool:
    """Whether the last step would be another one: at a positive level k-diffusion's functions evaluate once more."""
    twice = CARDS[schedule.solver].evaluations_per_step > 1
    return twice and schedule.sigmas[-1] > 0 and form not in {Format.JSON, Format.DIFFUSERS}


def check_consumer(schedule: Schedule, form: Format) -> None:
    """Whether the tool of a format can run a schedule.

    Raises:
        ScheduleRefused: the format carries no weights, or the tool has no such solver for this kind of model.
    """
    if takes(schedule, form):
        return
    solver, kind, what = schedule.solver, schedule.kind, f"format {form.value}"
    if runs_solver(form, solver, kind):
        why = f"its tool ends {solver.value} at a positive level with one more evaluation"
        raise ScheduleRefused.of(what, why=why, fix="ask for terminal=zero")
    other = next((one.value for one in _SUGGESTED if runs_solver(form, one, kind)), None)
    ask = "ask for format=json" if other is None else f"ask for solver={other}"
    if solver is Solver.FITTED:
        fix = f"{ask}; apply_schedule, sample_fitted and the ComfyUI node take format=json"
        raise ScheduleRefused.of(what, why="it carries levels alone, and solver=fitted needs its weights with them", fix=fix)
    tool = "diffusers" if form is Format.DIFFUSERS else _RUNS[form][0]
    why = f"{tool} has no sampler that runs {solver.value} on a model of kind {kind}"
    raise ScheduleRefused.of(what, why=why, fix=ask)


_SUGGESTED = (Solver.DPMPP_2M, Solver.DPMPP_2M_SDE, Solver.HEUN, Solver.EULER)
