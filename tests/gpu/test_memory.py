"""The GPU's own memory: measured, filled, given back, and no reason to fail."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.gpu.twins import QUIET, TF32, bundled
from tests.models.families import random
from worker.ays.batches import CudaMemory
from worker.ays.denoise import Evaluator
from worker.models.registry import Registry
from worker.runtime.fatal import ends_process
from worker.runtime.warm_models import WarmModels

# One process: limits hold for all of it, and one test fills the GPU.
pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("memory"), *QUIET]

CUDA = torch.device("cuda")
GIB = 2**30


@pytest.fixture
def memory() -> Iterator[CudaMemory]:
    """The GPU's memory, all of it ours again afterwards."""
    torch.zeros(1, device=CUDA)
    torch.cuda.empty_cache()
    yield CudaMemory(CUDA)
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def taken(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, device=CUDA)


def samples(count: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return random(count, *shape).double(), torch.linspace(0.1, 9.0, count, dtype=torch.float64)


def test_the_peak_is_that_of_the_work(memory: CudaMemory):
    held = taken(GIB)
    assert 2 * GIB <= memory.peak(lambda: (taken(2 * GIB), None)[1]) < 2.1 * GIB
    assert memory.peak(lambda: None) == 0
    assert held.numel() == GIB


def test_what_the_allocator_holds_unused_is_free(memory: CudaMemory):
    """Other processes take and leave less than 3 GiB meanwhile."""
    before = memory.free()
    held = taken(16 * GIB)
    assert 13 * GIB < before - memory.free() < 19 * GIB
    del held
    assert torch.cuda.memory_reserved() >= 16 * GIB
    assert abs(before - memory.free()) < 3 * GIB
    memory.release()
    assert torch.cuda.memory_reserved() < GIB
    assert abs(before - memory.free()) < 3 * GIB


class Hungry:
    """A denoiser that takes some memory for every sample."""

    shape, sigma_min, sigma_max = (2,), 0.01, 50.0
    dtype, device = torch.float32, CUDA

    def __init__(self, row: int) -> None:
        self.row, self.seen, self.refused = row, [], 0

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.seen.append(len(x))
        try:
            taken(len(x) * self.row)
        except torch.OutOfMemoryError:
            self.refused += 1
            raise
        return x / (1 + sigma.square()).view(-1, 1)


def test_the_first_sample_tells_how_many_fit(memory: CudaMemory):
    """A tenth of the free memory for each: with a fifth of it left alone, 8 or, where others have taken some, a little fewer."""
    model = Hungry(memory.free() // 10)
    x, sigma = samples(30, model.shape)
    received = Evaluator(model, batch=64)(x, sigma)
    torch.testing.assert_close(received, x / (1 + sigma.square()).view(-1, 1), rtol=1e-5, atol=1e-5)
    assert model.seen[0] == 1
    assert max(model.seen) in {6, 7, 8}
    assert sum(model.seen) == 30
    assert model.refused == 0


@pytest.mark.usefixtures("memory")
def test_batches_are_halved_where_the_driver_promised_too_much():
    """What the driver calls free is not ours to take: the process is limited to 4 GiB."""
    torch.cuda.set_per_process_memory_fraction(4 * GIB / torch.cuda.mem_get_info()[1])
    model = Hungry(GIB // 4)
    x, sigma = samples(100, model.shape)
    denoise = Evaluator(model, batch=64)
    received = denoise(x, sigma)
    torch.testing.assert_close(received, x / (1 + sigma.square()).view(-1, 1), rtol=1e-5, atol=1e-5)
    assert model.seen[:3] == [1, 64, 32]
    assert model.refused >= 2
    assert set(model.seen[model.refused + 1 : -1]) <= {8, 16}
    assert denoise.evaluations == 100


def test_a_network_that_runs_out_of_memory_ends_with_the_same_answer(memory: CudaMemory):
    model = bundled("fashion")
    x, sigma = samples(300, model.denoiser.shape)
    whole = Evaluator(model.denoiser, batch=256)
    expected = whole(x, sigma)
    on_gpu = x[:256].float().to(CUDA), sigma[:256].float().to(CUDA)
    peak = memory.peak(lambda: (model.denoiser.denoise(*on_gpu), None)[1])
    memory.release()
    limit = torch.cuda.memory_reserved() + 0.4 * peak
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info()[1])
    done: list[int] = [0]
    received = Evaluator(model.denoiser, batch=256, on_batch=done.append)(x, sigma)
    sizes = torch.tensor(done).diff().tolist()
    assert sizes[0] == 1
    assert max(sizes) < 256
    assert sum(sizes) == 300
    scale = expected.flatten(1).square().mean(1).sqrt().maximum(sigma)
    assert float(((received - expected).abs().flatten(1).amax(1) / scale).max()) < TF32


class Endless(torch.nn.Module):
    """A network that no GPU has the memory for."""

    def forward(self, *_inputs: Any, **_named: Any) -> None:
        taken(2**40)


@pytest.mark.usefixtures("memory")
def test_one_sample_that_does_not_fit_is_told_and_ends_the_process():
    model = bundled("digits")
    denoise = Evaluator(replace(model.denoiser, net=Endless()), batch=8)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory") as told:
        denoise(*samples(4, model.denoiser.shape))
    assert ends_process(told.value)


@pytest.mark.usefixtures("memory")
def test_a_model_that_makes_room_leaves_the_gpu():
    models = WarmModels(Registry(None).load, size=1)
    models.get("fashion")
    models.get("gaussian")
    before = torch.cuda.memory_allocated()
    size = sum(parameter.nbytes for parameter in models.get("fashion").denoiser.net.parameters())
    assert torch.cuda.memory_allocated() - before >= size
    models.get("gaussian")
    assert torch.cuda.memory_allocated() == before
