r"""Whether samples lose in distribution, seen in the noises of the validation set at no further evaluation.

A stochastic sampler may come nearer to every reference and yet make worse samples as a set: a smaller pathwise error is also had by
smoothing. So an answer must not lose to the best hand-made schedule in the first two moments of every dimension,

    sum (mu - mu*)^2 + (s - s*)^2        (the Frechet distance of independent Gaussians; * of the reference from the same noises)

nor, where samples are images, in the energy above half of the highest frequency.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from worker.ays.search.statistics import SURE

_LEAST = 4
"""Pixels a side below which there is no upper half of the frequencies to speak of."""


def loses_in_distribution(samples: Tensor, others: Tensor, reference: Tensor) -> bool:
    """Whether samples are significantly further from the reference's distribution than others, all from the same noises.

    Args:
        samples: of the schedule in question, shape (n, *shape).
        others: of the schedule it is compared with, shape (n, *shape).
        reference: shape (n, *shape).
    """
    distances = [moment_distance]
    if reference.ndim >= 4 and min(reference.shape[-2:]) >= _LEAST:
        distances.append(energy_distance)
    return any(_significant(distance, samples, others, reference) for distance in distances)


def moment_distance(samples: Tensor, reference: Tensor) -> float:
    """Squared distance of per-dimension means and standard deviations; what the finite number of pairs adds to the means is taken off."""
    x, y = samples.flatten(1), reference.flatten(1)
    change = x - y
    means = change.mean(0).square() - change.var(0) / len(x)
    return float((means + (x.std(0) - y.std(0)).square()).sum())


def energy_distance(samples: Tensor, reference: Tensor) -> float:
    """Absolute logarithm of the ratio of energies above half of the highest frequency."""
    ratio = _high_energy(samples) / max(_high_energy(reference), 1e-300)
    return abs(float(np.log(max(ratio, 1e-300))))


def _high_energy(images: Tensor) -> float:
    spectrum = torch.fft.fft2(images).abs().square()
    rows, columns = (torch.fft.fftfreq(side).abs() for side in images.shape[-2:])
    return float(spectrum[..., torch.maximum(rows[:, None], columns[None, :]) > 0.25].mean())


def _significant(distance: Callable[[Tensor, Tensor], float], samples: Tensor, others: Tensor, reference: Tensor) -> bool:
    """Whether a distance is larger by more than `SURE` standard errors, by the jackknife over noises."""

    def excess(rows: Tensor) -> float:
        return distance(samples[rows], reference[rows]) - distance(others[rows], reference[rows])

    n = len(samples)
    index = torch.arange(n)
    left_out = np.array([excess(index[index != i]) for i in range(n)])
    error = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum())
    return bool(excess(index) > SURE * error)
