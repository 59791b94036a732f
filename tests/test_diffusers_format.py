"""What the diffusers format promises: that scheduler, with those levels set, is our solver; on Gaussian data, where D is known."""

import math
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch

from ays_client import formats
from ays_client.solvers import CARDS, Solver
from tests.client.schedules import schedule
from worker.ays.solvers import SOLVERS
from worker.ays.solvers import sample as ours

# Diffusers turns torch tensors into arrays and back in ways that numpy 2 announces to end.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

LEVELS = (14.6, 8.0, 3.5, 1.2, 0.7, 0.2, 0.03)
DATA_STD, EDM_STD = 0.7, 0.5


def denoise(x, sigma):
    return x * DATA_STD**2 / (DATA_STD**2 + sigma**2)


def whole_batch(x, sigma):
    return denoise(x, sigma.reshape(-1, *[1] * (x.ndim - 1)))


def output(kind, x, sigma):
    """What a network of this kind returns."""
    clean = denoise(x, sigma)
    noise = (x - clean) / sigma
    if kind == "vp":
        return noise
    if kind == "flow":
        return noise - clean
    norm = math.hypot(sigma, EDM_STD)
    return (clean - EDM_STD**2 / norm**2 * x) * norm / (sigma * EDM_STD)


CELLS = [(solver, kind) for solver, card in CARDS.items() if not card.stochastic for kind in card.schedulers if kind != "ve"]
SHRINKS = {"vp": lambda sigma: 1 / math.hypot(1, sigma), "flow": lambda sigma: 1 / (1 + sigma), "edm": lambda _: 1.0}


def applied(answer, solver, kind):
    """A scheduler with the answer's levels, set as its note says, and the levels at which it evaluates."""
    scheduler = getattr(diffusers, answer["scheduler"])(**answer["config"])
    times, sigmas = answer["timesteps"], answer["sigmas"]
    scheduler.set_timesteps(len(times) if solver is not Solver.DPMPP_2S else 2 * len(times) - 1)
    if solver is Solver.HEUN:
        times = times[:1] + [time for time in times[1:] for _ in range(2)]
        sigmas = sigmas[:1] + [sigma for sigma in sigmas[1:-1] for _ in range(2)] + sigmas[-1:]
    if solver is Solver.DPMPP_2S:
        noise = [sigma / (1 - sigma) for sigma in sigmas] if kind == "flow" else sigmas
        middle = [math.sqrt(a * b) for a, b in pairwise(noise[:-1])]
        middle = [sigma / (1 + sigma) for sigma in middle] if kind == "flow" else middle
        sigmas = [level for pair in zip(sigmas, middle, strict=False) for level in pair] + sigmas[-2:]
        times = [time for pair in zip(times, [(a + b) / 2 for a, b in pairwise(times)], strict=False) for time in pair] + times[-1:]
    scheduler.timesteps = torch.tensor(times)
    scheduler.sigmas = torch.tensor(sigmas, dtype=torch.float64)
    return scheduler, [sigma / (1 - sigma) for sigma in sigmas] if kind == "flow" else sigmas


@pytest.mark.parametrize("terminal", [(0.0,), ()], ids=["zero", "sigma_min"])
@pytest.mark.parametrize(("solver", "kind"), CELLS)
@pytest.mark.parametrize("length", [3, 7])
def test_the_scheduler_runs_our_solver_on_our_levels(kind, solver, terminal, length):
    levels = LEVELS[-length:] + terminal
    answer = formats.diffusers(schedule(kind=kind, solver=solver, sigmas=levels))
    scheduler, evaluated = applied(answer, solver, kind)
    shrinks = SHRINKS[kind] if answer["scheduler"] not in {"EulerDiscreteScheduler", "HeunDiscreteScheduler"} else lambda _: 1.0
    noise = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sample = levels[0] * noise * shrinks(levels[0])
    calls = range(2 * len(levels) - 3) if CARDS[solver].evaluations_per_step == 2 else range(len(levels) - 1)
    for n in calls:
        sigma, time = evaluated[n + (n % 2 if solver is Solver.HEUN else 0)], scheduler.timesteps[n]
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(sample, time)
        sample = scheduler.step(output(kind, sample / shrinks(sigma), sigma), time, sample).prev_sample
    expected = ours(SOLVERS[solver], whole_batch, np.array(levels), noise)
    torch.testing.assert_close(sample / shrinks(levels[-1]), expected, atol=1e-5, rtol=0, check_dtype=False)
