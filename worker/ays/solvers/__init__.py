"""Samplers in VE coordinates: one file declares a method, and its sampler and cost follow (docs/solvers.md)."""

from worker.ays.solvers.base import ODE, SDE, Noise, Solver, Stage
from worker.ays.solvers.deis import DEIS
from worker.ays.solvers.dpmpp_2m import DPMPP_2M, DPMPP_2M_SDE
from worker.ays.solvers.dpmpp_2s import DPMPP_2S, EXP_HEUN_2_X0, RES_2S
from worker.ays.solvers.dpmpp_3m import DPMPP_3M, DPMPP_3M_SDE
from worker.ays.solvers.er_sde import ER, ER_SDE_1, ER_SDE_2, ER_SDE_3
from worker.ays.solvers.first_order import DDIM, DDPM, EULER, EULER_ANCESTRAL, SDDIM
from worker.ays.solvers.fitted import FITTED, HISTORY
from worker.ays.solvers.heun import HEUN
from worker.ays.solvers.ipndm import IPNDM
from worker.ays.solvers.res_multistep import DPMPP_2M_SDE_HEUN, RES_MULTISTEP
from worker.ays.solvers.rollout import Denoise, sample, trajectory
from worker.ays.solvers.unipc import UNIPC, UNIPC_3

__all__ = [
    "DDIM",
    "ER",
    "FITTED",
    "HISTORY",
    "ODE",
    "SDE",
    "SOLVERS",
    "Denoise",
    "Noise",
    "Solver",
    "Stage",
    "first_order",
    "reference",
    "sample",
    "second_order",
    "trajectory",
]

_ALL = (
    *(EULER, DDIM, HEUN, DPMPP_2S, RES_2S, EXP_HEUN_2_X0, DPMPP_2M, RES_MULTISTEP, DPMPP_3M, UNIPC, UNIPC_3, DEIS, IPNDM, FITTED),
    *(EULER_ANCESTRAL, DDPM, SDDIM, DPMPP_2M_SDE, DPMPP_2M_SDE_HEUN, DPMPP_3M_SDE, ER_SDE_1, ER_SDE_2, ER_SDE_3),
)

SOLVERS = {solver.name: solver for solver in _ALL}

_FIRST_ORDER = {"ode": DDIM, "sde": SDDIM, "er": ER_SDE_1}
_REFERENCE = {"ode": UNIPC_3, "sde": DPMPP_2M_SDE, "er": ER_SDE_2}
_SECOND_ORDER = {"ode": DPMPP_2M, "sde": DPMPP_2M_SDE, "er": ER_SDE_2}


def first_order(solver: Solver) -> Solver:
    """The first-order method with the same noise."""
    return _FIRST_ORDER[solver.noise.name]


def second_order(solver: Solver) -> Solver:
    """The second-order multistep method with the same noise."""
    return _SECOND_ORDER[solver.noise.name]


def reference(solver: Solver) -> Solver:
    """The most accurate method with the same noise on a fine grid, one evaluation a step: of order 4 for an ODE."""
    return _REFERENCE[solver.noise.name]
