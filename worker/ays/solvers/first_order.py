r"""First order: $\hat D = D(x, \sigma)$.

In VE coordinates Euler's method (Karras et al. 2022, https://arxiv.org/abs/2206.00364), DDIM with eta = 0 (Song et al. 2021,
https://arxiv.org/abs/2010.02502) and first-order DPM-Solver++ are one method. So are the ancestral Euler of k-diffusion, DDPM's posterior
(Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239), DDIM with eta = 1 and first-order SDE-DPM-Solver++: each draws from the exact
posterior given `x_0 = D`. They keep their names, since that is how people ask for them.
"""

from worker.ays.solvers.base import SDE, Solver

EULER = Solver(name="euler", order=1)
DDIM = Solver(name="ddim", order=1)

EULER_ANCESTRAL = Solver(name="euler_ancestral", order=1, noise=SDE)
DDPM = Solver(name="ddpm", order=1, noise=SDE)
SDDIM = Solver(name="sddim", order=1, noise=SDE)
