"""The bundled digits in stock pipelines of diffusers, as they come and with a schedule."""

import math
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor

from ays_client import apply_schedule
from ays_client.contract import Schedule
from benchmarks.rows import Row, errors, generate, starting_noise
from worker.ays.denoise import Evaluator
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample
from worker.models.digits import PIPELINE
from worker.models.digits.data import digits
from worker.models.frechet import frechet_distance
from worker.models.registry import Registry

SOLVERS_ASKED = ("ddim", "dpmpp_2m")
NOISES, PART, FINE = 2000, 125, 32


def pipeline(kind: Any = diffusers.DDPMPipeline) -> Any:
    """A stock pipeline."""
    pipe = kind.from_pretrained(PIPELINE)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fine() -> Tensor:
    """The fine solution from the noise that `generate` draws, clamped to the range of images as the pipeline does."""
    model = Registry(None).load("digits")
    top, bottom = model.process.sigma_max, model.process.sigma_min
    denoise = Evaluator(model.denoiser, batch=1000)
    noise = starting_noise(NOISES, denoise.shape)
    # The pipeline's state is x / sqrt(1 + sigma^2); the sampler starts at sigma_0 times what it is given.
    levels = np.array([*log_grid(top, bottom, FINE), 0.0])
    return sample(SOLVERS["dpmpp_2m"], denoise, levels, noise * math.hypot(1, top) / top).clamp(-1, 1).float()


def rows(optimized: dict[str, Schedule], nfe: int) -> list[Row]:
    """All ways of sampling, the fine solution last."""
    target, ddim, ddpm = fine(), diffusers.DDIMPipeline, diffusers.DDPMPipeline
    multistep = pipeline()
    multistep.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(multistep.scheduler.config)
    found = {
        "DDIMPipeline as it comes": pipeline(ddim),
        "DDIMPipeline, apply_schedule (ddim)": apply_schedule(pipeline(ddim), optimized["ddim"], strict=True),
        "DDPMPipeline with DPM-Solver++(2M)": multistep,
        "DDPMPipeline, apply_schedule (dpmpp_2m)": apply_schedule(pipeline(ddpm), optimized["dpmpp_2m"], strict=True),
    }
    samples = {label: generate(pipe, NOISES, nfe) for label, pipe in found.items()} | {f"fine solution, {FINE} evaluations": target}
    stochastic = generate(pipeline(), NOISES, nfe)
    return [
        Row("DDPMPipeline as it comes", stochastic, frechet=_frechet(stochastic)),
        *(Row(label, each, errors(each, target), _frechet(each)) for label, each in samples.items()),
    ]


def _frechet(samples: Tensor) -> Tensor:
    held_out = digits()[1]
    return torch.tensor([frechet_distance(part.double(), held_out) for part in samples.split(PART)])
