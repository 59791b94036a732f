"""The models in the box: the trained digits, and two laws whose exact denoiser is known."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.ays.analytic import AnisotropicGaussian, GaussianMixture, grid_mixture, power_law_gaussian
from worker.ays.noise import VE
from worker.models.card import Card
from worker.models.digits import PIPELINE
from worker.models.fingerprint import digest, folder_fingerprint, tensor_digest
from worker.models.loaded import LoadedModel, SampleData
from worker.models.models_file import DiffusersEntry
from worker.models.pipeline_denoiser import UNetDenoiser
from worker.models.unet_folder import read_unet_folder

DIGITS = DiffusersEntry(id="digits", title="Handwritten digits, 8 x 8 (DDPM, trained here)", path=PIPELINE)


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


def folder_card(entry: DiffusersEntry) -> Card:
    """Facts of a diffusers folder, from its configuration files.

    Raises:
        ModelError: the folder is missing or malformed.
    """
    folder = read_unet_folder(f"model {entry.id!r}", entry.path)
    return Card(
        id=entry.id,
        title=entry.title,
        kind=folder.training.process.kind,
        shape=folder.shape,
        sigma_min=folder.training.process.sigma_min,
        sigma_max=folder.training.process.sigma_max,
        prediction_type=folder.training.prediction,
    )


def load_folder(entry: DiffusersEntry) -> LoadedModel:
    """Load a diffusers folder, on the GPU when there is one.

    Raises:
        ModelError: the folder is missing, unsafe or malformed.
    """
    folder = read_unet_folder(f"model {entry.id!r}", entry.path)
    net = folder.load(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    denoiser = UNetDenoiser(net, training=folder.training, shape=folder.shape)
    fingerprint, data = folder_fingerprint(folder), None
    if entry is DIGITS and importlib.util.find_spec("sklearn") is not None:
        images = _digits_images()
        data = _resample(images)
        fingerprint = digest({"folder": fingerprint, "data": tensor_digest(images)})
    return LoadedModel(
        id=entry.id,
        title=entry.title,
        denoiser=denoiser,
        process=folder.training.process,
        fingerprint=fingerprint,
        prediction_type=folder.training.prediction,
        guidance_scale=None,
        data=data,
    )


def _digits_images() -> Tensor:
    # Imported here: scikit-learn, which carries the images, is not needed to measure along the model's own flow.
    from worker.models.digits.data import digits

    train, _ = digits()
    return train


def _resample(images: Tensor) -> SampleData:
    def sample_data(n: int, generator: torch.Generator) -> Tensor:
        return images[torch.randint(len(images), (n,), generator=generator)]

    return sample_data
