r"""RES multistep (Zhang et al. 2023, https://arxiv.org/abs/2308.02157): D as a line in $\lambda$ through the last two evaluations.

The second order of the method whose third is `dpmpp_3m`: 2M takes the mean of the line at the middle of the step, this one over the step,
weighted as the equation has it (exact $\phi_2$). It is diffusers' 2M with `solver_type="heun"`; its SDE form is k-diffusion's default
`sample_dpmpp_2m_sde`.
"""

from worker.ays.solvers.base import SDE, Solver
from worker.ays.solvers.dpmpp_3m import third_order

RES_MULTISTEP = Solver(name="res_multistep", order=2, history=2, weights=third_order(1.0))
DPMPP_2M_SDE_HEUN = Solver(name="dpmpp_2m_sde_heun", order=2, history=2, weights=third_order(2.0), noise=SDE)
