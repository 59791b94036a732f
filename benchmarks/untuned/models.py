"""The untuned models by name, ready for a benchmark."""

from collections.abc import Callable

from safetensors.torch import load_file

from benchmarks.untuned.emoji import pipeline_folder
from benchmarks.untuned.spiral import WEIGHTS
from benchmarks.untuned.spiral.data import spiral
from benchmarks.untuned.spiral.network import SpiralDenoiser
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.fingerprint import digest, file_digest
from worker.models.hub import Hub
from worker.models.loaded import LoadedModel


def load_spiral() -> LoadedModel:
    """The perceptron of the spiral, with its data."""
    denoiser = SpiralDenoiser(load_file(WEIGHTS))
    return LoadedModel(
        id="untuned-spiral",
        title="Spiral in the plane (v-prediction, untuned)",
        denoiser=denoiser,
        process=denoiser.process,
        fingerprint=digest({"untuned": "spiral", "weights": file_digest(WEIGHTS)}),
        prediction_type="v_prediction",
        guidance_scale=None,
        data=spiral,
    )


def load_emoji() -> LoadedModel:
    """The network of 16 x 16 emoji; without data, which is no part of the repository."""
    entry = DiffusersEntry(id="untuned-emoji-16", title="Emoji, 16 x 16 in colour (flow, untuned)", source=pipeline_folder(16))
    return load_diffusers(entry, Hub(allowed=False))


UNTUNED: dict[str, Callable[[], LoadedModel]] = {"untuned-spiral": load_spiral, "untuned-emoji-16": load_emoji}
"""Loaders by name."""
