"""A model on the GPU, its twin on the CPU, and how far apart two answers are."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.cases import build, load
from tests.models.families import FAMILIES, random
from worker.models.loaded import LoadedModel
from worker.models.network_denoiser import NetworkDenoiser
from worker.models.registry import Registry

TF32 = 16 * 2.0**-10
"""What the probe allows a network of float32 on a GPU: 16 roundings of TF32, whose mantissa has 10 bits."""

QUIET = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),  # of diffusers and torch
]

_CPU = torch.device("cpu")


def bundled(name: str) -> LoadedModel:
    """A model in the box, on the device that a worker would choose."""
    return Registry(None).load(name)


def tiny(folders: Path, name: str, *keys: str) -> LoadedModel:
    """A family's tiny network of random weights, likewise."""
    family = FAMILIES[name]
    return load(folders / name, family, *keys, conditions=family.conditions(build(family)))


def on_cpu(model: LoadedModel) -> LoadedModel:
    """The same weights and conditions, moved to the CPU."""
    denoiser = model.denoiser
    assert isinstance(denoiser, NetworkDenoiser)
    given = None if denoiser.given is None else denoiser.given.to(_CPU, denoiser.precision)
    return replace(model, denoiser=replace(denoiser, net=copy.deepcopy(denoiser.net).to(_CPU), given=given, device=_CPU))


def answer(model: LoadedModel, count: int = 4) -> Tensor:
    """Estimates from the same samples wherever the model is; on the CPU."""
    denoiser = model.denoiser
    x, sigma = random(count, *denoiser.shape), torch.linspace(0.1, 9.0, count)
    condition = [torch.arange(count) % denoiser.conditions] if getattr(denoiser, "conditions", 0) else []
    found = denoiser.denoise(x.to(denoiser.device), sigma.to(denoiser.device), *condition)
    assert found.dtype == torch.float32
    assert found.device.type == denoiser.device.type
    return found.cpu()


def distance(received: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the size of each sample or to its noise level where that is larger: D has errors of sigma's size."""
    floor = torch.linspace(0.1, 9.0, len(expected))
    size = expected.flatten(1).square().mean(1).sqrt().maximum(floor)
    return float(((received - expected).abs().flatten(1).amax(1) / size).max())
