"""A model in memory, ready to be measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.ays.denoise import ConditionalDenoiser, Denoiser
from worker.ays.noise import NoiseProcess
from worker.models.errors import ModelError

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
        data_range: lowest and highest value of clean samples, null where they have none (latents, points in the plane).
        published: name of the published table that may serve it.
        paired: clean samples that belong to the conditions of paths, by their indices: where it is there, in place of draws from `data`.
        guided: makes the denoiser of another guidance scale; null where the scale cannot be chosen.
    """

    id: str
    title: str
    denoiser: Denoiser | ConditionalDenoiser
    process: NoiseProcess
    fingerprint: str
    prediction_type: str | None
    guidance_scale: float | None
    data: SampleData | None
    data_range: tuple[float, float] | None = None
    published: str | None = None
    paired: Callable[[Sequence[int]], Tensor] | None = None
    guided: Callable[[float], Denoiser | ConditionalDenoiser] | None = None

    def at_guidance(self, scale: float | None) -> "LoadedModel":
        """The same weights at another guidance scale.

        Args:
            scale: the scale; None: the model's own.

        Raises:
            ModelError: the model has no guidance, or its scale is fixed.
        """
        if scale is None or scale == self.guidance_scale:
            return self
        if self.guided is None:
            where, received, fix = f"model {self.id!r}", f"guidance_scale = {scale:g}", "leave guidance_scale out"
            expected = "none: it has no guidance" if self.guidance_scale is None else f"{self.guidance_scale:g}, which is part of it"
            raise ModelError.of(where, received=received, expected=expected, fix=fix)
        return replace(self, denoiser=self.guided(scale), guidance_scale=scale)


def resampled(samples: Tensor) -> SampleData:
    """A source that draws, with replacement, from samples of shape (n, *shape)."""

    def sample_data(n: int, generator: torch.Generator) -> Tensor:
        return samples[torch.randint(len(samples), (n,), generator=generator)]

    return sample_data


def in_order(samples: Tensor) -> Callable[[Sequence[int]], Tensor]:
    """A source that gives path i sample i mod n, of samples of shape (n, *shape)."""

    def of_paths(paths: Sequence[int]) -> Tensor:
        return samples[torch.tensor(paths, dtype=torch.int64) % len(samples)]

    return of_paths
