"""Batches: memory is never a reason to fail, and never changes an answer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.ays.problems import plane
from worker.ays.batches import Batches
from worker.ays.denoise import Evaluator


class Small:
    """An accelerator of some bytes, on which every row takes a hundred."""

    def __init__(self, free: int) -> None:
        self.bytes, self.released = free, 0

    def free(self) -> int:
        return self.bytes

    def peak(self, work: Callable[[], None]) -> int:
        work()
        return 100

    def release(self) -> None:
        self.released += 1


class Greedy:
    """A law that runs out of memory above a number of samples."""

    def __init__(self, most: int) -> None:
        self.law, self.most, self.seen = plane(), most, []
        self.shape, self.sigma_min, self.sigma_max = self.law.shape, self.law.sigma_min, self.law.sigma_max
        self.dtype, self.device = self.law.dtype, self.law.device

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.seen.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError
        return self.law.denoise(x, sigma)


def points(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, 2, generator=generator, dtype=torch.float64) * 3, torch.linspace(0.1, 9, n, dtype=torch.float64)


def test_a_batch_is_halved_until_it_fits_and_no_sample_is_lost_or_repeated():
    model, shown = Greedy(most=3), []
    denoise = Evaluator(model, batch=16, on_batch=shown.append)
    x, sigma = points(21)
    torch.testing.assert_close(denoise(x, sigma), plane().denoise(x, sigma))
    assert model.seen == [16, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
    assert denoise.evaluations == 21 == shown[-1]
    denoise(x, sigma)
    assert max(model.seen[14:]) == 2


def test_a_sample_that_does_not_fit_alone_is_told():
    with pytest.raises(torch.OutOfMemoryError):
        Evaluator(Greedy(most=0), batch=8)(*points(4))


def test_an_accelerator_is_filled_to_its_free_memory():
    model = Greedy(most=100)
    denoise = Evaluator(model, batch=64, memory=Small(1000))
    denoise(*points(30))
    assert model.seen == [1, 8, 8, 8, 5]


def test_an_estimate_that_was_too_bold_is_corrected():
    model, memory = Greedy(most=3), Small(1000)
    x, sigma = points(10)
    torch.testing.assert_close(Evaluator(model, batch=64, memory=memory)(x, sigma), plane().denoise(x, sigma))
    assert model.seen == [1, 8, 4, 2, 2, 2, 2, 1]
    assert memory.released == 2


@pytest.mark.parametrize(("shape", "size"), [((2,), 256), ((3, 32, 32), 85), ((4, 128, 128), 4), ((16, 21, 60, 104), 1)])
def test_on_a_cpu_the_size_follows_from_the_shape(shape: tuple[int, ...], size: int):
    assert Batches(most=256, shape=shape, memory=None).size == size
