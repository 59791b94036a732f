"""The bundled fashion model in the pipeline of `examples/edm_pipeline.py`, as it comes and with a schedule."""

from typing import Any

import diffusers
from torch import Tensor

from ays_client import apply_schedule
from ays_client.contract import Schedule
from benchmarks.rows import Row, errors, generate, starting_noise
from examples.edm_pipeline import EDMPipeline
from worker.ays.denoise import Evaluator
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, sample
from worker.models.fashion import PIPELINE
from worker.models.registry import Registry

SOLVERS_ASKED = ("euler", "dpmpp_2m")
NOISES, FINE = 256, 40


def pipeline(scheduler: Any = diffusers.EDMEulerScheduler) -> EDMPipeline:
    """The pipeline, with the scheduler that it comes with or another one of the same configuration."""
    pipe = EDMPipeline.from_folder(PIPELINE)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def fine() -> Tensor:
    """The fine solution from the noise that `generate` draws, clamped to the range of images as the pipeline does."""
    model = Registry(None).load("fashion")
    denoise = Evaluator(model.denoiser, batch=NOISES)
    noise = starting_noise(NOISES, denoise.shape)
    levels = edm(FINE, sigma_max=model.process.sigma_max, sigma_min=model.process.sigma_min, terminal="zero")
    return sample(SOLVERS["dpmpp_2m"], denoise, levels, noise).clamp(-1, 1).float()


def rows(optimized: dict[str, Schedule], nfe: int) -> list[Row]:
    """All ways of sampling, the fine solution last."""
    target, multistep = fine(), diffusers.EDMDPMSolverMultistepScheduler
    euler_applied = apply_schedule(pipeline(), optimized["euler"], strict=True)
    multistep_applied = apply_schedule(pipeline(multistep), optimized["dpmpp_2m"], strict=True)
    found = {
        "EDMEulerScheduler as it comes": pipeline(),
        "EDMEulerScheduler, apply_schedule (euler)": euler_applied,
        "EDMDPMSolverMultistepScheduler as it comes": pipeline(multistep),
        "EDMDPMSolverMultistepScheduler, apply_schedule (dpmpp_2m)": multistep_applied,
    }
    samples = {label: generate(pipe, NOISES, nfe) for label, pipe in found.items()} | {f"fine solution, {FINE} evaluations": target}
    return [Row(label, each, errors(each, target)) for label, each in samples.items()]
