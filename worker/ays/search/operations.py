"""What an evaluation costs, in floating-point operations: the same number on every run, unlike seconds."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from worker.ays.denoise import Evaluator

_ELEMENTWISE = 100
"""Operations per value that are assumed of a denoiser without a matrix product or convolution."""


def operations_per_evaluation(denoise: Evaluator) -> int:
    """Operations of matrix products, convolutions and attention of one evaluation of one sample; it takes one evaluation.

    Args:
        denoise: the model.
    """
    x = torch.zeros(1, *denoise.shape, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter:
        denoise(x, torch.full((1,), denoise.sigma_max, dtype=torch.float64))
    return max(int(counter.get_total_flops()), _ELEMENTWISE * x.numel())
