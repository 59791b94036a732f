"""Handwritten digits as a diffusion data set: 1,797 grey images of 8 x 8, values in [-1, 1].

The images are scikit-learn's copy of the UCI optical recognition of handwritten digits test set (Alpaydin and Kaynak 1998).
A fixed permutation splits them into 1,297 training images and 500 held-out images that training never sees.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

HELD_OUT = 500
"""Number of images that training never sees."""

_SPLIT_SEED = 0
_PIXEL_MAX = 16.0


def digits() -> tuple[Tensor, Tensor]:
    """Load the training and the held-out images.

    Returns:
        `(train, held_out)`, float32, of shapes (1297, 1, 8, 8) and (500, 1, 8, 8), values in [-1, 1].
    """
    images = torch.from_numpy(np.asarray(load_digits().images, dtype=np.float32))
    return _split((images / (_PIXEL_MAX / 2) - 1.0).unsqueeze(1))


def digit_labels() -> tuple[Tensor, Tensor]:
    """Load the classes of the same images.

    Returns:
        `(train, held_out)`, int64 from 0 to 9, of shapes (1297,) and (500,).
    """
    return _split(torch.from_numpy(np.asarray(load_digits().target, dtype=np.int64)))


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    shuffled = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(_SPLIT_SEED))]
    return shuffled[HELD_OUT:], shuffled[:HELD_OUT]
