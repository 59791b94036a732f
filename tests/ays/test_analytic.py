"""Exact denoisers: Tweedie, losses, the Gaussian's flow, its bound and its optimal schedules."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar

from tests.ays.problems import line, plane, spectrum
from worker.ays.analytic import AnisotropicGaussian, Gaussian, GaussianMixture, grid_mixture, power_law_gaussian
from worker.ays.profile.cost import klub
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample

Law = AnisotropicGaussian | GaussianMixture

LAWS: dict[str, Law] = {"spectrum": spectrum(), "line": line(), "plane": plane()}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def noised(law: Law, sigma: float, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_0 = law.sample_data(n, generator)
    return x_0, x_0 + sigma * torch.randn(x_0.shape, generator=generator, dtype=torch.float64)


@every_law
@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 8.0])
def test_the_loss_is_that_of_samples(law: Law, sigma: float) -> None:
    x_0, x = noised(law, sigma, 20000)
    errors = (law.denoise(x, torch.full((len(x),), sigma, dtype=torch.float64)) - x_0).square().sum(1)
    assert abs(errors.mean().item() - law.mmse(sigma)) < 4 * errors.std().item() / math.sqrt(len(x))


@every_law
@pytest.mark.parametrize("sigma", [0.05, 0.7, 8.0])
def test_the_denoiser_follows_from_the_density_by_tweedie(law: Law, sigma: float) -> None:
    x = noised(law, sigma, 50)[1].requires_grad_()
    (score,) = torch.autograd.grad(law.log_density(x, sigma).sum(), x)
    expected = (x + sigma**2 * score).detach()
    received = law.denoise(x.detach(), torch.full((len(x),), sigma, dtype=torch.float64))
    torch.testing.assert_close(received, expected, rtol=1e-9, atol=1e-10)


def test_densities_integrate_to_one() -> None:
    for sigma in (0.0, 0.5):
        total = quad(lambda x, s=sigma: math.exp(line().log_density(torch.tensor([[x]], dtype=torch.float64), s)), -6, 6, limit=400)
        assert total[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_the_loss_by_quadrature_is_the_loss_of_a_gaussian_where_the_mixture_is_one(sigma: float) -> None:
    mixture = GaussianMixture(torch.zeros(3, 2), torch.full((3,), 0.5))
    assert mixture.mmse(sigma) == pytest.approx(Gaussian(0.5, 2).mmse(sigma), rel=1e-10)


def test_quadrature_is_refused_above_the_plane() -> None:
    with pytest.raises(ValueError, match="received a mixture in 3 dimensions; quadrature is for 1 or 2"):
        GaussianMixture(torch.zeros(2, 3), torch.ones(2)).mmse(1.0)


def test_fine_sampling_follows_the_exact_flow() -> None:
    law = spectrum()
    noise = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    received = sample(SOLVERS["dpmpp_2m"], law.denoise, log_grid(20.0, 0.02, 401), noise)
    torch.testing.assert_close(received, law.flow(20.0 * noise, 20.0, 0.02), rtol=5e-4, atol=1e-8)


def test_the_exact_flow_composes() -> None:
    law, x = spectrum(), torch.ones(1, 5, dtype=torch.float64)
    torch.testing.assert_close(law.flow(law.flow(x, 9.0, 1.0), 1.0, 0.1), law.flow(x, 9.0, 0.1), rtol=1e-13, atol=0)


LEVELS = np.array([20.0, 7.0, 3.0, 1.1, 0.4, 0.09, 0.02])


def quadrature_klub(law: Gaussian, levels: np.ndarray) -> float:
    """Bound (K) as it is written, by adaptive quadrature."""
    return sum(
        quad(lambda u, b=b: u**-3 * (law.mmse(b) - law.mmse(u)), a, b, epsabs=0, epsrel=1e-12, limit=500)[0]
        for b, a in itertools.pairwise(levels)
    )


@pytest.mark.parametrize("c", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_closed_form_of_the_bound_agrees_with_quadrature(c: float, dim: int) -> None:
    law = Gaussian(c, dim)
    assert law.klub(LEVELS) == pytest.approx(quadrature_klub(law, LEVELS), rel=1e-10)
    vectorized = np.vectorize(law.mmse)
    assert law.klub(LEVELS) == pytest.approx(klub(LEVELS, vectorized), rel=1e-10)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(c=st.floats(0.05, 3), above=st.floats(0.5, 30), ratio=st.floats(2, 200))
def test_the_fixed_point_minimizes_the_bound_over_one_interior_level(c: float, above: float, ratio: float) -> None:
    law, below = Gaussian(c), above / ratio
    expected = law.klub_fixed_point(above, below)
    assert below < expected < above

    def bound(log_level: float) -> float:
        return law.klub(np.array([above, math.exp(log_level), below]))

    found = minimize_scalar(bound, bounds=(math.log(below), math.log(above)), method="bounded", options={"xatol": 1e-10})
    # The minimum is flat: a relative precision of eps in the value leaves sqrt(eps) in its place.
    assert bound(math.log(expected)) <= found.fun * (1 + 1e-9)
    assert math.log(expected) == pytest.approx(found.x, abs=1e-4)


def test_the_arctan_levels_minimize_the_output_divergence_of_euler_and_not_the_bound() -> None:
    law = Gaussian(0.5, sigma_min=0.02, sigma_max=10.0)
    arctan = law.arctan_levels(6)
    assert (arctan[0], arctan[-1]) == pytest.approx((10.0, 0.02))

    def divergence(log_interior: np.ndarray) -> float:
        return law.euler_kl(np.concatenate([[10.0], np.exp(log_interior), [0.02]]))

    start = np.log(log_grid(10.0, 0.02, 7)[1:-1])
    found = minimize(divergence, start, method="BFGS", options={"gtol": 1e-12})
    assert np.exp(found.x) == pytest.approx(arctan[1:-1], rel=1e-4)

    def bound(log_interior: np.ndarray) -> float:
        return law.klub(np.concatenate([[10.0], np.exp(log_interior), [0.02]]))

    optimum = minimize(bound, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 20000, "maxfev": 20000})
    assert law.klub(arctan) == pytest.approx(23.3, abs=0.1)  # facts of an independent derivation
    assert optimum.fun == pytest.approx(2.55, abs=0.01)


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_the_output_divergence_is_that_of_the_real_sampler(steps: int) -> None:
    law = Gaussian(0.7, sigma_min=0.05, sigma_max=12.0)
    levels = log_grid(12.0, 0.05, steps + 1)
    # Euler is linear on Gaussian data: a start of one true standard deviation ends at one standard deviation of the output.
    deviation = math.sqrt(0.7**2 + 12.0**2) / 12.0
    out = sample(SOLVERS["euler"], law.denoise, levels, torch.full((1, 1), deviation, dtype=torch.float64)).item() ** 2
    ratio = (0.7**2 + 0.05**2) / out
    assert law.euler_kl(levels) == pytest.approx(0.5 * (ratio - 1 - math.log(ratio)), rel=1e-9)


def test_the_ready_made_laws_have_the_shapes_and_scales_they_promise() -> None:
    mixture, gaussian = grid_mixture(4, spacing=0.5), power_law_gaussian(16, exponent=2.0)
    assert mixture.means.shape == (16, 2)
    assert mixture.means.mean(0).abs().max() < 1e-12
    assert mixture.means.max().item() == pytest.approx(0.75)
    assert gaussian.variances.mean().item() == pytest.approx(0.25)
    assert (gaussian.variances[0] / gaussian.variances[3]).item() == pytest.approx(16)
