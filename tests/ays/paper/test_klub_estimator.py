"""Algorithm 2 of the paper, with its normalizer: against quadrature, closed forms and the printed version."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest

from tests.ays.problems import evaluator, plane
from worker.ays.analytic import Gaussian
from worker.ays.denoise import Denoiser, Evaluator
from worker.ays.paper.importance_sampling import GaussianProposal
from worker.ays.paper.klub_estimator import KlubEstimates, KlubEstimator
from worker.ays.profile.cost import klub

LOW, HIGH = 0.1, 0.5
CANDIDATES = np.exp(np.linspace(np.log(0.11), np.log(0.45), 11))


def estimator(law: Denoiser, samples: int, *, c: float = 0.5, seed: int = 0) -> tuple[KlubEstimator, Evaluator]:
    denoise = evaluator(law)
    x_0 = law.sample_data(samples, torch.Generator().manual_seed(seed))  # type: ignore[attr-defined]
    return KlubEstimator(denoise, x_0, proposal=GaussianProposal(c), seed=seed), denoise


def exact(law: Gaussian, mid: float) -> float:
    return law.klub(np.array([HIGH, mid, LOW]))


@pytest.mark.parametrize(("low", "level", "upper"), [(0.002, 0.0021, 80.0), (0.002, 80.0, 80.0), (0.3, 0.4, 0.7), (79.0, 79.5, 80.0)])
@pytest.mark.parametrize("c", [0.1, 0.5, 2.0])
def test_the_mass_of_the_proposal_agrees_with_quadrature(c: float, low: float, level: float, upper: float) -> None:
    proposal = GaussianProposal(c)

    def integrand(log_t: float) -> float:
        t = np.exp(log_t)
        return float(t**-2 * proposal.gain(np.array(t), np.array(upper)))

    by_quadrature, _ = quad(integrand, np.log(low), np.log(level), epsabs=0, epsrel=1e-11, limit=400)
    assert float(proposal.mass(*map(np.asarray, (low, level, upper)))) == pytest.approx(by_quadrature, rel=1e-8)


def test_levels_are_drawn_from_the_proposal_down_to_the_lowest_ones() -> None:
    proposal, low, mid, high = GaussianProposal(0.5), 0.002, np.array([0.02, 3.0]), 80.0
    u = (np.arange(4096) + 0.5) / 4096
    drawn = proposal.sample(u, low, mid, high)
    assert np.all((drawn > low) & (drawn < high))
    for levels, knot in zip(drawn, mid, strict=True):
        inside = proposal.mass(np.asarray(low), np.minimum(levels, knot), np.asarray(knot))
        above = proposal.mass(np.asarray(knot), np.maximum(levels, knot), np.asarray(high))
        probability = (inside + above) / proposal.normalizer(low, knot[None], high)
        np.testing.assert_allclose(probability, u, rtol=1e-9)
        assert kstest(probability, "uniform").pvalue > 0.99
    assert np.sum(drawn[0] < 1.1 * low) > 80, "a uniform grid of 1,000 levels has none there"


@pytest.mark.parametrize("c", [0.2, 0.5, 1.0])
def test_the_estimate_is_the_closed_form_of_a_gaussian_whatever_its_width(c: float) -> None:
    law = Gaussian(c, 3)
    found = estimator(law, 4096)[0](LOW, CANDIDATES, HIGH)
    wanted = np.array([exact(law, mid) for mid in CANDIDATES])
    assert np.all(np.abs(found.mean - wanted) < 4 * found.standard_error)
    np.testing.assert_allclose(found.mean, wanted, rtol=0.03)
    assert found.mean.argmin() == wanted.argmin()


def test_the_estimate_is_the_bound_of_a_mixture_within_its_standard_error() -> None:
    law = plane()
    levels = np.array([4.0, 0.9, 0.3])

    def mmse(sigma: np.ndarray) -> np.ndarray:
        return np.vectorize(law.mmse)(sigma)

    found = estimator(law, 4096)[0](levels[2], levels[[1]], levels[0])
    assert found.mean[0] == pytest.approx(klub(levels, mmse, nodes=24), abs=4 * found.standard_error[0])
    assert found.standard_error[0] < 0.05 * found.mean[0]


def test_without_its_normalizer_the_estimate_carries_no_signal() -> None:
    """Algorithm 2 as printed: the mean of the ratios alone."""

    def printed(law: Gaussian) -> np.ndarray:
        found: KlubEstimates = estimator(law, 4096)[0](LOW, CANDIDATES, HIGH)
        return found.mean / GaussianProposal(0.5).normalizer(LOW, CANDIDATES, HIGH)

    matched = printed(Gaussian(0.5, 3))
    assert np.ptp(matched) / matched.mean() < 0.02, "the same number for every candidate"
    for width in (0.2, 1.0):
        law = Gaussian(width, 3)
        wanted = np.array([exact(law, mid) for mid in CANDIDATES])
        assert printed(law).argmin() != wanted.argmin()


def test_common_numbers_make_differences_of_candidates_precise() -> None:
    pair = np.array([0.2, 0.21])
    law = Gaussian(1.0, 3)
    differences, errors = [], []
    for seed in range(24):
        found = estimator(law, 128, seed=seed)[0](LOW, pair, HIGH)
        differences.append(found.mean[1] - found.mean[0])
        errors.append(found.standard_error[0])
    assert np.mean(differences) == pytest.approx(exact(law, 0.21) - exact(law, 0.2), abs=4 * np.std(differences) / np.sqrt(24))
    assert np.std(differences) < 0.25 * np.mean(errors)


def test_the_same_seed_is_the_same_estimate_and_the_upper_knot_is_evaluated_once() -> None:
    first, count = estimator(plane(), 300)
    found = first(LOW, CANDIDATES, HIGH)
    again = estimator(plane(), 300)[0](LOW, CANDIDATES, HIGH)
    np.testing.assert_array_equal(found.mean, again.mean)
    samples, candidates = 300, len(CANDIDATES)
    assert samples * (1 + candidates) < count.evaluations < samples * (1 + 2 * candidates)


def test_the_total_of_a_schedule_is_the_closed_form() -> None:
    law = Gaussian(0.5, 3)
    levels = np.geomspace(5.0, 0.05, 9)
    total, error = estimator(law, 4096)[0].total(levels)
    assert total == pytest.approx(law.klub(levels), abs=4 * error)
    assert error < 0.02 * total
