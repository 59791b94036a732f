"""The bundled fashion model in the pipeline of `examples/edm_pipeline.py`, as it comes and with a schedule."""

import diffusers
import torch
from torch import Tensor

from ays_client import apply_schedule
from ays_client.contract import Schedule
from benchmarks.rows import Row, errors
from examples.edm_pipeline import EDMPipeline
from worker.ays.denoise import Evaluator
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, sample
from worker.models.fashion import PIPELINE
from worker.models.registry import Registry

SOLVERS_ASKED = ("euler", "dpmpp_2m")
NOISES, FINE = 256, 40


def pipeline(scheduler: type = diffusers.EDMEulerScheduler) -> EDMPipeline:
    """The pipeline, with the scheduler that it comes with or another one of the same configuration."""
    pipe = EDMPipeline.from_folder(PIPELINE)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generate(pipe: EDMPipeline, nfe: int) -> Tensor:
    """The call site, the same for every row: samples in [-1, 1], shape (NOISES, 1, 28, 28)."""
    images = pipe(batch_size=NOISES, generator=torch.Generator().manual_seed(0), num_inference_steps=nfe, output_type="np").images
    return 2 * torch.from_numpy(images).permute(0, 3, 1, 2) - 1


def fine() -> Tensor:
    """The fine solution from the noise that `generate` draws, clamped to the range of images as the pipeline does."""
    model = Registry(None).load("fashion")
    denoise = Evaluator(model.denoiser, batch=NOISES)
    noise = torch.randn(NOISES, *denoise.shape, generator=torch.Generator().manual_seed(0)).double()
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
    samples = {label: generate(pipe, nfe) for label, pipe in found.items()} | {f"fine solution, {FINE} evaluations": target}
    return [Row(label, each, errors(each, target)) for label, each in samples.items()]
