"""A law whose denoiser is known, dressed as the network of each kind of model, and a schedule for each kind."""

import math
from itertools import pairwise

import numpy as np
import torch

from ays_client.contract import Provenance, Schedule, Solver, Source, Terminal
from ays_client.stock import times_of_kind, whole_times
from tests.ays.problems import plane
from worker.ays.noise import VP, scaled_linear_betas
from worker.ays.paths import Brownian
from worker.ays.solvers import SOLVERS, sample

LAW = plane()
LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEVELS = (13.9, 6.1, 3.3, 1.9, 1.1, 0.62, 0.31, 0.08)
"""Between the levels of whole timesteps."""

EDM_STD = 0.5
_PROCESS = VP(scaled_linear_betas())


def schedule(*, kind="vp", solver=Solver.DPMPP_2M, levels=LEVELS, terminal=Terminal.ZERO, **changes):
    """A schedule of a model of this kind."""
    sigmas = [*levels, 0.0] if terminal is Terminal.ZERO else [*levels, 0.05]
    evaluated = sigmas[:-1]
    times = times_of_kind(kind, evaluated) or [float(_PROCESS.time(sigma)) for sigma in evaluated]
    steps = len(evaluated)
    fields = {
        "id": "a" * 32,
        "model": "toy",
        "fingerprint": "f",
        "kind": kind,
        "nfe": 2 * steps - 1 if solver is Solver.HEUN else steps,
        "steps": steps,
        "solver": solver,
        "terminal": terminal,
        "sigmas": sigmas,
        "t": [sigma / (1 + sigma) for sigma in sigmas] if kind == "flow" else None,
        "timesteps": times,
        "timesteps_int": whole_times(times) if kind == "vp" else None,
        "sigma_min": 0.05,
        "sigma_max": 14.6,
        "prediction_type": "epsilon" if kind != "flow" else None,
        "source": Source.OPTIMIZED,
        "validated": True,
        "provenance": Provenance(code_version="1"),
    }
    return Schedule.model_validate(fields | changes)


def denoise(x, sigma):
    """The law's denoiser in float64; x of shape (n, 2), sigma a number."""
    return LAW.denoise(x.double(), torch.full((len(x),), float(sigma), dtype=torch.float64))


def network(kind, x, time):
    """What a trained network of this kind returns: it sees its own scaled input and its own time, nothing else."""
    time = float(time)
    if kind == "vp":
        table = _PROCESS.sigma(np.arange(1000))
        sigma = math.exp(np.interp(time, np.arange(1000), np.log(table)))
        clean = x.double() * math.hypot(1, sigma)
        return ((clean - denoise(clean, sigma)) / sigma).to(x)
    if kind == "flow":
        t = time / 1000
        clean = x.double() / (1 - t)
        estimate = denoise(clean, t / (1 - t))
        return ((clean - estimate) * (1 - t) / t - estimate).to(x)
    sigma = math.exp(4 * time)
    # Stable Video Diffusion's v is EDM's F for data of variance 1, negated.
    std, sign = (1.0, -1.0) if kind == "svd" else (EDM_STD, 1.0)
    norm = math.hypot(sigma, std)
    clean = x.double() * norm
    return (sign * (denoise(clean, sigma) - std**2 / norm**2 * clean) * norm / (sigma * std)).to(x)


def run(scheduler, kind, noise, *, generator=None):
    """A pipeline's loop: the scheduler scales and steps, the network predicts. Returns the sample in `x_0 + sigma eps`."""
    x = noise.float() * float(getattr(scheduler, "init_noise_sigma", float(scheduler.sigmas[0])))
    extra = {} if generator is None else {"generator": generator}
    for time in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, time) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(kind, seen, time), time, x, **extra).prev_sample
    last = float(scheduler.sigmas[-1])
    carried = type(scheduler).__name__
    if kind == "flow":
        return x / (1 - last)
    return x if carried.startswith(("EDM", "Euler", "Heun", "LMS")) else x * math.hypot(1, last)


def ours(solver, levels, noise, *, brownian=None):
    """The same by our own sampler, in float64."""
    return sample(SOLVERS[solver], lambda x, sigma: LAW.denoise(x, sigma), np.array(levels), noise.double(), brownian=brownian)


def brownian_of(levels, noises):
    """The Brownian path whose increments are these standard normal noises, one for each step to a positive level."""
    u = np.array([level**-2 for level in levels if level > 0])
    w = torch.zeros(len(u), *noises[0].shape, dtype=torch.float64)
    for index, (lower, upper) in enumerate(pairwise(u)):
        w[index + 1] = w[index] + math.sqrt(upper - lower) * noises[index].double()
    return Brownian(u, w)
