"""The probe: rounding of a low precision is no fault, a dependence on the batch is."""

import pytest
import torch
from torch import Tensor

from tests.worker.tasks.pipelines import LAW, model
from worker.models.errors import ModelError
from worker.models.probe import probe


class Rounded:
    """A law as a network predicts it: the noise, in half precision, whose last digit depends on the size of the batch."""

    def __init__(self, precision: torch.dtype, error: float) -> None:
        self.precision, self.error = precision, error
        self.shape, self.sigma_min, self.sigma_max = LAW.shape, 0.01, 150.0
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.view(-1, 1)
        noise = (x - LAW.denoise(x.double(), sigma.double()).to(x)) / level
        return x - level * noise * (1 + self.error * len(x))


def test_rounding_of_half_precision_is_no_fault():
    probe(model(Rounded(torch.bfloat16, error=2.0**-7)))
    probe(model(Rounded(torch.float16, error=2.0**-10)))


@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 2.0**-7), (torch.bfloat16, 0.3), (torch.float16, 2.0**-4)])
def test_a_dependence_on_the_batch_is(precision: torch.dtype, error: float):
    with pytest.raises(ModelError, match="with the batch they come in"):
        probe(model(Rounded(precision, error)))
