"""The bundled model: an ordinary diffusers folder of trained weights, with data to measure along."""

import torch
from diffusers import DDPMPipeline

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
