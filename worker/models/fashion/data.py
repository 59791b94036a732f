"""Fashion-MNIST as a diffusion data set: grey images of 28 x 28, values in [-1, 1] (Xiao, Rasul, Vollgraf 2017, MIT licence).

The archives `fashion_mnist_train.npz` (60,000 images) and `fashion_mnist_test.npz` (10,000) hold `x`, uint8 of shape (n, 28, 28),
and the classes `y`. They are no part of the package: only training and judging read them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

SIZE = 28
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class Labelled:
    """Images with their classes.

    Attributes:
        images: shape (n, 1, 28, 28), float32 in [-1, 1].
        labels: index into `CLASSES`, shape (n,), int64.
    """

    images: Tensor
    labels: Tensor


def fashion(folder: Path, part: Literal["train", "test"]) -> Labelled:
    """Load one of the two archives.

    Args:
        folder: where the archives lie.
        part: which one.

    Raises:
        FileNotFoundError: the archive is not there.
    """
    with np.load(folder / f"fashion_mnist_{part}.npz", allow_pickle=False) as archive:
        images, labels = archive["x"], archive["y"]
    scaled = torch.from_numpy(images.astype(np.float32) / 127.5 - 1.0).reshape(-1, 1, SIZE, SIZE)
    return Labelled(scaled, torch.from_numpy(labels.astype(np.int64)))
