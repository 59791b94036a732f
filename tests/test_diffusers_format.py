"""What the diffusers format promises: that scheduler, with those levels set, is our solver; on Gaussian data, where D is known."""

import math
from itertools import pairwise

import diffusers
import pytest
import torch

from ays_client import formats
from ays_client.contract import Solver
from tests.client.schedules import schedule

# Diffusers turns torch tensors into arrays in a way that numpy 2 announces to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LEVELS = (14.6, 8.0, 3.5, 1.2, 0.7, 0.2, 0.03)
DATA_STD, EDM_STD = 0.7, 0.5


def denoise(x, sigma):
    return x * DATA_STD**2 / (DATA_STD**2 + sigma**2)


def solve(x, levels, *, second_order):
    """The textbook recursion in x = x_0 + sigma eps."""
    before, h_before = None, None
    for sigma, lower in pairwise(levels):
        estimate = denoised = denoise(x, sigma)
        if lower == 0:
            return denoised
        h = math.log(sigma / lower)
        if second_order and before is not None:
            estimate = denoised + h / (2 * h_before) * (denoised - before)
        x = lower / sigma * x + (1 - lower / sigma) * estimate
        before, h_before = denoised, h
    return x


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


@pytest.mark.parametrize("terminal", [(0.0,), ()])
@pytest.mark.parametrize("solver", [Solver.EULER, Solver.DDIM, Solver.DPMPP_2M])
@pytest.mark.parametrize("kind", ["vp", "edm", "flow"])
def test_the_scheduler_runs_our_solver_on_our_levels(kind, solver, terminal):
    levels = LEVELS + terminal
    answer = formats.diffusers(schedule(kind=kind, solver=solver, sigmas=levels))
    scheduler = getattr(diffusers, answer["scheduler"])(**answer["config"])
    scheduler.set_timesteps(len(answer["timesteps"]))
    scheduler.timesteps = torch.tensor(answer["timesteps"])
    scheduler.sigmas = torch.tensor(answer["sigmas"], dtype=torch.float64)
    shrinks = {"vp": lambda sigma: 1 / math.hypot(1, sigma), "flow": lambda sigma: 1 / (1 + sigma), "edm": lambda _: 1.0}[kind]
    if answer["scheduler"] == "EulerDiscreteScheduler":
        shrinks = {"vp": lambda _: 1.0}[kind]

    start = levels[0] * torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sample = start * shrinks(levels[0])
    for sigma, time in zip(levels, scheduler.timesteps, strict=False):
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(sample, time)
        sample = scheduler.step(output(kind, sample / shrinks(sigma), sigma), time, sample).prev_sample
    expected = solve(start, levels, second_order=solver is Solver.DPMPP_2M)
    torch.testing.assert_close(sample / shrinks(levels[-1]), expected, atol=2e-6, rtol=0, check_dtype=False)
