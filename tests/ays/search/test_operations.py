"""The price of an evaluation: that of the layers, the same on every run, for one evaluation."""

import torch
from torch import Tensor

from tests.ays.problems import evaluator, plane
from worker.ays.search.operations import operations_per_evaluation


class Layers:
    """A denoiser of two matrix products and a convolution."""

    shape, sigma_min, sigma_max = (1, 6, 6), 0.1, 10.0
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self) -> None:
        self.calls = 0
        self.first, self.second = torch.nn.Linear(36, 50), torch.nn.Linear(50, 36)
        self.convolution = torch.nn.Conv2d(1, 1, 3, padding=1)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        hidden = self.second(torch.relu(self.first(x.flatten(1)))) / (1 + sigma[:, None])
        return self.convolution(hidden.reshape(x.shape))


def test_operations_are_those_of_the_layers_and_the_same_every_time() -> None:
    law = Layers()
    denoise = evaluator(law)
    found = [operations_per_evaluation(denoise) for _ in range(3)]
    assert found == [2 * (36 * 50 + 50 * 36) + 2 * 9 * 36] * 3
    assert law.calls == 3
    assert denoise.evaluations == 3


def test_a_denoiser_without_layers_costs_something_for_every_value() -> None:
    assert operations_per_evaluation(evaluator(plane())) >= 2
