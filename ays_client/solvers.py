"""The solvers by name: what a client needs to know of each, and what other libraries call it (docs/solvers.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Solver(StrEnum):
    """A sampling method, by its k-diffusion name where it has one."""

    EULER = "euler"
    DDIM = "ddim"
    HEUN = "heun"
    DPMPP_2S = "dpmpp_2s"
    RES_2S = "res_2s"
    EXP_HEUN_2_X0 = "exp_heun_2_x0"
    DPMPP_2M = "dpmpp_2m"
    RES_MULTISTEP = "res_multistep"
    DPMPP_3M = "dpmpp_3m"
    UNIPC = "unipc"
    UNIPC_3 = "unipc_3"
    DEIS = "deis"
    IPNDM = "ipndm"
    FITTED = "fitted"
    EULER_ANCESTRAL = "euler_ancestral"
    DDPM = "ddpm"
    SDDIM = "sddim"
    DPMPP_2M_SDE = "dpmpp_2m_sde"
    DPMPP_2M_SDE_HEUN = "dpmpp_2m_sde_heun"
    DPMPP_3M_SDE = "dpmpp_3m_sde"
    ER_SDE_1 = "er_sde_1"
    ER_SDE_2 = "er_sde_2"
    ER_SDE_3 = "er_sde_3"


@dataclass(frozen=True)
class Card:
    """A solver as others know it.

    Attributes:
        order: measured order of convergence on graded schedules, without its noise.
        stochastic: whether it adds noise.
        exact: whether its cost is exact, given the moments along the paths.
        kdiffusion: the call of k-diffusion, or of ComfyUI's k-diffusion, that runs it; None: none does.
        schedulers: classes of diffusers that run it, by kind of model; a kind that is missing has none.
        config: changes of their configuration.
        at_sigma_min: further changes for schedules that end at sigma_min.
        evaluations_per_step: evaluations of every step but the last, which has one.
    """

    order: int
    stochastic: bool = False
    exact: bool = True
    kdiffusion: str | None = None
    schedulers: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    at_sigma_min: Mapping[str, object] = field(default_factory=dict)
    evaluations_per_step: int = 1

    def steps(self, nfe: int) -> int:
        """Number of steps that spend `nfe` evaluations."""
        return 1 + (nfe - 1) // self.evaluations_per_step

    def fits(self, nfe: int) -> bool:
        """Whether a whole number of steps spends `nfe` evaluations."""
        return (nfe - 1) % self.evaluations_per_step == 0


def _of_sigma(name: str, **others: str) -> dict[str, str]:
    """The same class for every kind, except where said."""
    return {"ve": name, "vp": name, "edm": name, "flow": name} | others


_MULTISTEP = _of_sigma("DPMSolverMultistepScheduler", edm="EDMDPMSolverMultistepScheduler")
# Else a short schedule would end with a first-order step, which only a step to zero should.
_FULL_ORDER = {"final_sigmas_type": "sigma_min", "lower_order_final": False}


def _dpm(order: int, algorithm: str, **more: object) -> dict[str, object]:
    return {"solver_order": order, "algorithm_type": algorithm, **more}


def _without_edm(name: str) -> dict[str, str]:
    return {"ve": name, "vp": name, "flow": name}


# One method under three names; its noise is that of the SDE.
_ANCESTRAL = Card(
    order=1,
    stochastic=True,
    kdiffusion="sample_euler_ancestral",
    schedulers=_MULTISTEP,
    config=_dpm(1, "sde-dpmsolver++"),
    at_sigma_min=_FULL_ORDER,
)


CARDS: Mapping[Solver, Card] = {
    Solver.EULER: Card(
        order=1,
        kdiffusion="sample_euler",
        schedulers=_of_sigma("EulerDiscreteScheduler", edm="EDMEulerScheduler", flow="FlowMatchEulerDiscreteScheduler"),
    ),
    # Diffusers' own DDIMScheduler computes the previous timestep from an even spacing, so it cannot run any other schedule.
    Solver.DDIM: Card(
        order=1,
        kdiffusion="sample_euler",
        schedulers=_MULTISTEP,
        config=_dpm(1, "dpmsolver++"),
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.HEUN: Card(
        order=2,
        exact=False,
        evaluations_per_step=2,
        kdiffusion="sample_heun",
        # FlowMatchHeunDiscreteScheduler averages slopes in t, which is another method.
        schedulers={"ve": "HeunDiscreteScheduler", "vp": "HeunDiscreteScheduler"},
    ),
    Solver.DPMPP_2S: Card(
        order=2,
        exact=False,
        evaluations_per_step=2,
        kdiffusion="sample_dpmpp_2s_ancestral(eta=0)",
        schedulers=_without_edm("DPMSolverSinglestepScheduler"),
        config=_dpm(2, "dpmsolver++"),
        at_sigma_min={"final_sigmas_type": "sigma_min"},
    ),
    Solver.RES_2S: Card(order=2, exact=False, evaluations_per_step=2, kdiffusion="sample_res_2s (RES4LYF)"),
    Solver.EXP_HEUN_2_X0: Card(order=2, exact=False, evaluations_per_step=2, kdiffusion="sample_exp_heun_2_x0 (ComfyUI)"),
    Solver.DPMPP_2M: Card(
        order=2,
        kdiffusion="sample_dpmpp_2m",
        schedulers=_MULTISTEP,
        config=_dpm(2, "dpmsolver++"),
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.RES_MULTISTEP: Card(
        order=2,
        kdiffusion="sample_res_multistep (ComfyUI)",
        schedulers=_MULTISTEP,
        config=_dpm(2, "dpmsolver++", solver_type="heun"),
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.DPMPP_3M: Card(
        order=2,
        kdiffusion="sample_dpmpp_3m_sde(eta=0)",
        schedulers=_MULTISTEP,
        config=_dpm(3, "dpmsolver++", solver_type="heun", lower_order_final=False),
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.UNIPC: Card(
        order=3,
        exact=False,
        schedulers=_without_edm("UniPCMultistepScheduler"),
        config={"solver_order": 2, "solver_type": "bh2"},
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.UNIPC_3: Card(
        order=4,
        exact=False,
        kdiffusion="sample_unipc_bh2 (ComfyUI)",
        schedulers=_without_edm("UniPCMultistepScheduler"),
        config={"solver_order": 3, "solver_type": "bh2"},
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.DEIS: Card(
        order=3,
        schedulers=_without_edm("DEISMultistepScheduler"),
        config={"solver_order": 3},
        at_sigma_min={"lower_order_final": False},
    ),
    Solver.IPNDM: Card(order=2, kdiffusion="sample_ipndm (ComfyUI)"),
    # Levels and weights of one model and guidance, so no scheduler of diffusers runs it by its name alone.
    Solver.FITTED: Card(order=1),
    Solver.EULER_ANCESTRAL: _ANCESTRAL,
    Solver.DDPM: _ANCESTRAL,
    Solver.SDDIM: _ANCESTRAL,
    Solver.DPMPP_2M_SDE: Card(
        order=2,
        stochastic=True,
        kdiffusion='sample_dpmpp_2m_sde(solver_type="midpoint")',
        schedulers=_MULTISTEP,
        config=_dpm(2, "sde-dpmsolver++"),
        at_sigma_min=_FULL_ORDER,
    ),
    Solver.DPMPP_2M_SDE_HEUN: Card(
        order=2,
        stochastic=True,
        kdiffusion='sample_dpmpp_2m_sde(solver_type="heun")',
        schedulers=_MULTISTEP,
        config=_dpm(2, "sde-dpmsolver++", solver_type="heun"),
        at_sigma_min=_FULL_ORDER,
    ),
    # Diffusers' third-order update of the SDE has the sign of a constant wrong, so it is of first order.
    Solver.DPMPP_3M_SDE: Card(order=2, stochastic=True, kdiffusion="sample_dpmpp_3m_sde"),
    Solver.ER_SDE_1: Card(order=1, stochastic=True, exact=False, kdiffusion="sample_er_sde(max_stage=1) (ComfyUI)"),
    Solver.ER_SDE_2: Card(order=2, stochastic=True, exact=False, kdiffusion="sample_er_sde(max_stage=2) (ComfyUI)"),
    Solver.ER_SDE_3: Card(order=2, stochastic=True, exact=False, kdiffusion="sample_er_sde(max_stage=3) (ComfyUI)"),
}
