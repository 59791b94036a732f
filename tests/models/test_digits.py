"""The bundled model: an ordinary diffusers folder of trained weights, with data to measure along."""

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline

from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample, trajectory
from worker.models.digits import PIPELINE
from worker.models.registry import Registry


def test_diffusers_opens_it():
    pipeline = DDPMPipeline.from_pretrained(PIPELINE, local_files_only=True)
    assert pipeline.unet.config.sample_size == 8


def test_it_denoises_the_digits_it_knows():
    model = Registry(None).load("digits")
    assert model.data is not None
    generator = torch.Generator().manual_seed(0)
    x_0 = model.data(256, generator)
    assert x_0.shape == (256, 1, 8, 8)
    assert (x_0.min(), x_0.max()) == (-1, 1)
    for sigma, bound in ((0.1, 0.1), (0.5, 0.3)):
        noise = torch.randn(x_0.shape, generator=generator)
        estimate = model.denoiser.denoise(x_0 + sigma * noise, torch.full((256,), sigma))
        error = (estimate - x_0).square().mean().sqrt()
        # Far better than what the noise itself amounts to.
        assert error < min(bound, 0.8 * sigma)


def test_its_card_tells_what_loading_finds():
    registry = Registry(None)
    card, model = registry.cards()[0], registry.load("digits")
    assert (card.kind, card.shape, card.prediction_type) == (model.process.kind, model.denoiser.shape, model.prediction_type)
    assert (card.sigma_min, card.sigma_max) == (model.denoiser.sigma_min, model.denoiser.sigma_max)


def test_an_error_above_the_data_reaches_the_image_as_on_gaussian_data_of_its_scale():
    """A move of x at random, and what is left of it at the end of the ODE."""
    model = Registry(None).load("digits")
    denoise, solver = Evaluator(model.denoiser, batch=256), SOLVERS["dpmpp_2m"]
    levels = log_grid(model.process.sigma_max, model.process.sigma_min, 32)
    noise, move = (starting_noise(denoise.shape, range(16), seed=seed, stream=Stream.FRESH) for seed in (0, 1))
    states, _ = trajectory(solver, denoise, levels, noise)
    left = []
    for sigma in (26.0, 9.0, 3.0, 1.0, 0.2):
        at = int(np.abs(np.log(levels / sigma)).argmin())
        rest, x = np.append(levels[at:], 0.0), states[at] / levels[at]
        change = sample(solver, denoise, rest, x + 0.02 * move) - sample(solver, denoise, rest, x)
        left.append(float((change.square().sum() / (0.02 * levels[at] * move).square().sum()).sqrt()))
    assert left == pytest.approx([0.02, 0.06, 0.17, 0.35, 0.5], rel=0.25)
    assert left[:3] == pytest.approx([0.6 / (0.36 + sigma**2) ** 0.5 for sigma in (26.0, 9.0, 3.0)], rel=0.3)
