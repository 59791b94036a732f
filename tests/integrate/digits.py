"""The bundled digits as the examples serve them: a schedule, and the image that it gives."""

import io

import diffusers
import torch
from PIL import Image

from ays_client import apply_schedule
from tests.integrate import problems
from worker.ays.noise import VP, linear_betas
from worker.models.digits import PIPELINE

LEVELS = (40.0, 12.0, 5.0, 2.5, 1.3, 0.6, 0.25, 0.05)


def schedule():
    """Of 8 evaluations."""
    process = VP(linear_betas(end=0.015))
    return problems.schedule(model="digits", levels=LEVELS, timesteps=[float(process.time(level)) for level in LEVELS])


def image(seed):
    """Pixels of the image that an inference server must answer for a seed, of its pipeline with the schedule."""
    return _sample(apply_schedule(_pipeline(), schedule(), strict=True), seed)


def stock_image(seed):
    """The same without a schedule."""
    return _sample(_pipeline(), seed)


def pixels(png):
    """Pixels of an answered PNG."""
    return Image.open(io.BytesIO(png)).tobytes()


def _pipeline():
    pipe = diffusers.DiffusionPipeline.from_pretrained(PIPELINE)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _sample(pipe, seed):
    return pipe(num_inference_steps=8, generator=torch.Generator().manual_seed(seed)).images[0].tobytes()
