"""A model in memory, ready to be measured."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.ays.denoise import Denoiser
from worker.ays.noise import NoiseProcess

SampleData = Callable[[int, torch.Generator], Tensor]
"""`sample_data(n, generator)`: `n` independent samples of the data, shape (n, *shape), float32."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """What the pipeline needs of a model.

    Attributes:
        id: name of the registry.
        title: one line for people.
        denoiser: D(x, sigma) in VE coordinates.
        process: native time <-> noise level.
        fingerprint: hex digest of the weights and of everything else that D and `data` depend on.
        prediction_type: what the network predicts (`epsilon`, `v_prediction`, `sample`), null where the question has no meaning.
        guidance_scale: scale of classifier-free guidance that is part of D, null without guidance.
        data: source of clean samples for forward paths, null where only the model itself is at hand.
        published: name of the published table that may serve it.
    """

    id: str
    title: str
    denoiser: Denoiser
    process: NoiseProcess
    fingerprint: str
    prediction_type: str | None
    guidance_scale: float | None
    data: SampleData | None
    published: str | None = None
