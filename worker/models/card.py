"""What is known of a model before its weights are loaded."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["ve", "vp", "edm", "flow"]
"""Family of the noise process."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Facts of a model; null where only loading it would tell.

    Attributes:
        id: name of the registry.
        title: one line for people.
        kind: family of the noise process.
        shape: shape of one sample.
        sigma_min: lowest noise level.
        sigma_max: highest noise level.
        prediction_type: what the network predicts.
        guidance_scale: scale of the guidance that is part of the denoiser.
        fingerprint: identity of the weights, where it is known without reading them.
        published: name of the published table that may serve it.
    """

    id: str
    title: str
    kind: Kind | None = None
    shape: tuple[int, ...] | None = None
    sigma_min: float | None = None
    sigma_max: float | None = None
    prediction_type: str | None = None
    guidance_scale: float | None = None
    fingerprint: str | None = None
    published: str | None = None
