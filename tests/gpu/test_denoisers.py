"""Networks on CUDA answer as on the CPU, in every precision and in the layout of a GPU."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.gpu.twins import QUIET, TF32, answer, bundled, distance, on_cpu, tiny
from tests.models.cases import save
from tests.models.families import FAMILIES
from tests.worker.tasks.pipelines import model as plane
from worker.models.errors import ModelError
from worker.models.network import best_device
from worker.models.probe import probe

pytestmark = [pytest.mark.gpu, *QUIET]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("networks"), *FAMILIES)


def test_the_device_is_the_gpu():
    assert best_device() == torch.device("cuda")
    assert {parameter.device.type for parameter in bundled("digits").denoiser.net.parameters()} == {"cuda"}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("_full_float32")
def test_every_family_answers_as_on_the_cpu(folders: Path, name: str):
    """Without TF32 nothing but the order of sums differs."""
    model = tiny(folders, name)
    assert distance(answer(model), answer(on_cpu(model))) < 1e-4


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_what_is_bundled_answers_as_on_the_cpu_up_to_tf32(name: str):
    model = bundled(name)
    assert distance(answer(model), answer(on_cpu(model))) < TF32


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_what_is_bundled_repeats_itself_bit_for_bit(name: str):
    model = bundled(name)
    assert torch.equal(answer(model, 256), answer(model, 256))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["unet2d", "sd", "flux"])
def test_a_low_precision_answers_as_on_the_cpu(folders: Path, name: str, precision: str):
    """Both round at the same places, in another order: 16 roundings, as the probe allows."""
    low, exact = tiny(folders, name, f'precision = "{precision}"'), tiny(folders, name)
    assert {parameter.dtype for parameter in low.denoiser.net.parameters()} == {getattr(torch, precision)}
    allowed = 16 * torch.finfo(getattr(torch, precision)).eps
    received = answer(low)
    assert distance(received, answer(on_cpu(low))) < allowed
    assert 0 < distance(received, answer(exact)) < allowed


def test_weights_are_channels_last_and_answer_the_same(folders: Path):
    model = tiny(folders, "sd")
    weight = model.denoiser.net.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    net = copy.deepcopy(model.denoiser.net).to(memory_format=torch.contiguous_format)
    assert net.conv_in.weight.is_contiguous()
    assert distance(answer(model), answer(replace(model, denoiser=replace(model.denoiser, net=net)))) < TF32


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["unet2d", "sd", "flux"])
def test_the_probe_passes_rounding(folders: Path, name: str, precision: str):
    probe(tiny(folders, name, f'precision = "{precision}"'))


class Mixing:
    """A denoiser on the GPU whose answer depends on the batch, in the units of float32's allowance."""

    shape, sigma_min, sigma_max = (2,), 0.01, 50.0
    dtype, device = torch.float32, torch.device("cuda")

    def __init__(self, share: float) -> None:
        self.share = share

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma.square()).view(-1, 1) + self.share * sigma.view(-1, 1) * len(x)


def test_the_probe_still_finds_a_dependence_on_the_batch():
    probe(plane(Mixing(TF32 / 4), data=None))
    with pytest.raises(ModelError, match="with the batch they come in"):
        probe(plane(Mixing(4 * TF32), data=None))
