"""Frechet distance of the Gaussians fitted to two sets: `|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))` (Dowson, Landau 1982)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set.

    Attributes:
        mean: shape (dim,), float64.
        covariance: shape (dim, dim), float64.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """Moments of samples of shape (n, *shape), n >= 2."""
        flat = x.flatten(1).double()
        return cls(flat.mean(0), flat.T.cov())


def frechet(a: Moments, b: Moments) -> float:
    """Squared Frechet distance."""
    # tr (S S')^(1/2) is the sum of the singular values of S^(1/2) S'^(1/2)
    cross = torch.linalg.svdvals(_root(a.covariance) @ _root(b.covariance)).sum()
    return float((a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross)


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Squared Frechet distance of two sets of samples, each of shape (n, *shape)."""
    return frechet(Moments.of(x), Moments.of(y))


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
