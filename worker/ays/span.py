"""The span of what has been evaluated: a sample of many values, given by few coordinates.

Along a starting noise every state of a deterministic sampler is a combination of the noise and of the denoiser's estimates so far, and so
is its distance to a fine solution. In an orthonormal basis of those the same rollout runs on a hundred numbers in place of a million.
"""

import torch
from torch import Tensor

WHOLE = 512
"""Most values of a sample that is its own coordinates."""
_NEW = 1e-9
"""Part of the longest vector below which nothing is new."""


class Span:
    """Growing orthonormal bases of n spans, one of each starting noise; samples of up to `WHOLE` values are their own coordinates."""

    def __init__(self, count: int, dim: int) -> None:
        """Begin with nothing.

        Args:
            count: number of spans, n.
            dim: values of a sample.
        """
        self._whole = dim <= WHOLE
        self._basis = torch.zeros(count, dim, 0, dtype=torch.float64)
        self.size = dim if self._whole else 0

    def widen(self, vectors: Tensor) -> None:
        """Make the spans hold these, too, shape (n, k, dim)."""
        if self._whole:
            return
        columns = vectors.mT
        rest = columns
        # Twice is enough (Kahan): what is left of the first pass is rounding.
        for _ in range(2):
            rest = rest - self._basis @ (self._basis.mT @ rest)
        directions, sizes, _ = torch.linalg.svd(rest, full_matrices=False)
        new = sizes > _NEW * columns.norm(dim=1).amax(dim=1, keepdim=True)
        # Where one span has fewer new directions than another, a zero stands in their place.
        directions = (directions * new[:, None])[:, :, : int(new.sum(1).max())]
        self._basis = torch.cat([self._basis, directions - self._basis @ (self._basis.mT @ directions)], dim=2)
        self.size = self._basis.shape[2]

    def coordinates(self, vectors: Tensor) -> Tensor:
        """Coordinates of vectors of the spans, shape (n, k, dim) -> (n, k, size)."""
        return vectors if self._whole else vectors @ self._basis

    def padded(self, coordinates: Tensor) -> Tensor:
        """Coordinates that were taken before the spans grew, shape (..., smaller) -> (..., size)."""
        return torch.nn.functional.pad(coordinates, (0, self.size - coordinates.shape[-1]))
