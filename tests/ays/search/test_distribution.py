"""The guard of distributions: it rejects smoothing, though that comes nearer to every reference, and lets equals pass."""

import pytest
import torch
from torch import Tensor

from worker.ays.search.distribution import energy_distance, loses_in_distribution, moment_distance


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_smoothed_samples_are_rejected_though_they_are_nearer_to_their_references() -> None:
    """Half of what is missed is variance that the sampler drew anew; shrinking it away halves the error and the variance."""
    reference = normal(96, 8, seed=0)
    honest = 0.8 * reference + 0.6 * normal(96, 8, seed=1)
    smoothed = 0.8 * reference
    errors = [(samples - reference).square().mean().item() for samples in (smoothed, honest)]
    assert errors[0] < 0.2 * errors[1]
    assert loses_in_distribution(smoothed, honest, reference)
    assert not loses_in_distribution(honest, smoothed, reference)


def test_blurred_images_are_rejected_by_their_high_frequencies_alone() -> None:
    reference = normal(64, 1, 8, 8, seed=0)
    noisy = reference + 0.3 * normal(64, 1, 8, 8, seed=1)
    spectrum = torch.fft.fft2(reference)
    high = torch.fft.fftfreq(8).abs()
    keep = torch.where(torch.maximum(high[:, None], high[None, :]) > 0.25, 0.5, 1.0)
    blurred = torch.fft.ifft2(spectrum * keep).real
    # The same variances in every pixel: only frequencies differ.
    blurred = blurred * (reference.std(0) / blurred.std(0))
    assert energy_distance(blurred, reference) > 3 * energy_distance(noisy, reference)
    assert loses_in_distribution(blurred, noisy, reference)
    assert not loses_in_distribution(blurred.flatten(1), noisy.flatten(1), reference.flatten(1))  # no images, no frequencies


@pytest.mark.parametrize("shape", [(8,), (1, 6, 6)])
def test_of_samples_of_one_law_neither_loses(shape: tuple[int, ...]) -> None:
    reference = normal(64, *shape, seed=0)
    one, other = (0.9 * reference + 0.4359 * normal(64, *shape, seed=seed) for seed in (1, 2))
    assert not loses_in_distribution(one, other, reference)
    assert not loses_in_distribution(other, one, reference)
    assert not loses_in_distribution(one, one, reference)


def test_the_distance_of_moments_is_the_closed_form() -> None:
    """Means and deviations of 2,000 pairs; what the finite number adds to the means is taken off, so it is 0 on average for equal laws."""
    reference = normal(2000, 3, seed=0)
    shift, stretch = torch.tensor([0.5, 0.0, -0.2]), torch.tensor([1.0, 1.5, 0.8])
    expected = float(shift.square().sum() + (stretch - 1).square().sum())
    assert moment_distance(shift + stretch * reference, reference) == pytest.approx(expected, rel=0.1)
    pairs = [(normal(32, 64, seed=2 * i), normal(32, 64, seed=2 * i + 1)) for i in range(30)]
    means = [moment_distance(x, y) - float((x.std(0) - y.std(0)).square().sum()) for x, y in pairs]
    scatter = torch.tensor(means).std().item() / 30**0.5
    assert abs(sum(means) / 30) < 4 * scatter
