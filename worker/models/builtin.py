"""The models in the box: two trained networks, and two laws whose exact denoiser is known."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

from worker.ays.analytic import AnisotropicGaussian, GaussianMixture, grid_mixture, power_law_gaussian
from worker.ays.noise import VE
from worker.models.card import Card
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.digits import PIPELINE as DIGITS_PIPELINE
from worker.models.fashion import PIPELINE as FASHION_PIPELINE
from worker.models.fingerprint import digest, tensor_digest
from worker.models.hub import Hub
from worker.models.loaded import LoadedModel, resampled

DIGITS = DiffusersEntry(id="digits", title="Handwritten digits, 8 x 8 (DDPM, trained here)", source=DIGITS_PIPELINE)

FASHION = DiffusersEntry(id="fashion", title="Fashion-MNIST, 28 x 28 (EDM, trained here)", source=FASHION_PIPELINE)


@dataclass(frozen=True, kw_only=True)
class AnalyticEntry:
    """A model whose denoiser is a formula.

    Attributes:
        id: name of the registry.
        title: one line for people.
        law: makes the denoiser.
        version: part of the fingerprint; changes with the formula or its constants.
    """

    id: str
    title: str
    law: Callable[[], AnisotropicGaussian | GaussianMixture]
    version: int = 1

    @property
    def fingerprint(self) -> str:
        """Identity of the formula and its constants, 64 hex digits."""
        return digest({"analytic": self.id, "version": self.version})


ANALYTIC = (
    AnalyticEntry(id="mixture", title="64 sharp Gaussians on a grid in the plane (exact)", law=grid_mixture),
    AnalyticEntry(id="gaussian", title="Gaussian in 512-d, power-law spectrum (exact)", law=power_law_gaussian),
)


def analytic_card(entry: AnalyticEntry) -> Card:
    """Facts of an analytic model, all of them."""
    law = entry.law()
    return Card(
        id=entry.id,
        title=entry.title,
        kind="ve",
        shape=law.shape,
        sigma_min=law.sigma_min,
        sigma_max=law.sigma_max,
        fingerprint=entry.fingerprint,
    )


def load_analytic(entry: AnalyticEntry) -> LoadedModel:
    """Make an analytic model."""
    law = entry.law()
    return LoadedModel(
        id=entry.id,
        title=entry.title,
        denoiser=law,
        process=VE(sigma_min=law.sigma_min, sigma_max=law.sigma_max),
        fingerprint=entry.fingerprint,
        prediction_type=None,
        guidance_scale=None,
        data=law.sample_data,
    )


def load_digits(hub: Hub) -> LoadedModel:
    """Load the digits, with the images they were trained on where scikit-learn is installed.

    Raises:
        ModelError: the installation is damaged.
    """
    model = load_diffusers(DIGITS, hub)
    if importlib.util.find_spec("sklearn") is None:
        return model
    # Imported here: scikit-learn, which carries the images, is not needed to measure along the model's own flow.
    from worker.models.digits.data import digits

    images, _ = digits()
    return replace(model, data=resampled(images), fingerprint=digest({"model": model.fingerprint, "data": tensor_digest(images)}))
