"""Levels and weights by gradients: against the worker's sampler, differences and exact solutions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.baselines import Problem
from benchmarks.baselines.differentiable import along, differentiable
from benchmarks.baselines.gradient import BACKWARD, HISTORY, Budget, fit, rollout, second_order
from benchmarks.cases import load
from tests.ays.problems import plane, spectrum
from worker.ays.analytic import AnisotropicGaussian, GaussianMixture
from worker.ays.noise import VE
from worker.ays.paths import Stream, starting_noise
from worker.ays.schedule import edm, log_snr
from worker.ays.solvers import SOLVERS, sample

BUDGET = Budget(iterations=200, batch=64, noises=256, validation=128, lr=0.03, levels=64)


def problem(law: AnisotropicGaussian | GaussianMixture) -> Problem:
    return Problem(law, process=VE(sigma_min=law.sigma_min, sigma_max=law.sigma_max), data=law.sample_data, seed=1)


def fresh(law: AnisotropicGaussian | GaussianMixture, count: int) -> Tensor:
    return starting_noise(law.shape, range(count), seed=0, stream=Stream.FRESH)


def test_the_start_is_dpm_solver_2m() -> None:
    law = plane()
    noise = fresh(law, 20)
    levels = edm(6, sigma_max=law.sigma_max, sigma_min=law.sigma_min, terminal="zero")
    expected = sample(SOLVERS["dpmpp_2m"], law.denoise, levels, noise)
    own = torch.from_numpy(levels)
    assert torch.allclose(rollout(law.denoise, own, second_order(own), noise), expected, atol=1e-12)


def test_a_function_of_numpy_gets_its_derivative() -> None:
    sigma = torch.tensor([0.01, 1.0, 50.0], dtype=torch.float64, requires_grad=True)
    value = along(sigma, np.log)
    value.sum().backward()
    assert torch.allclose(value, sigma.log())
    assert sigma.grad is not None
    assert sigma.grad.tolist() == pytest.approx((1 / sigma).tolist(), rel=1e-6)


@pytest.mark.parametrize("case_id", ["digits", "untuned-spiral", "untuned-emoji-16"])
def test_a_network_opened_up_is_the_same_denoiser(case_id: str) -> None:
    denoiser = load(case_id).denoiser
    opened = differentiable(denoiser)
    x = starting_noise(denoiser.shape, range(2), seed=0, stream=Stream.FRESH)
    sigma = torch.tensor([0.3, 2.0], dtype=torch.float64, requires_grad=True)
    found = opened(x, sigma)
    assert torch.allclose(found.float(), denoiser.denoise(x.float(), sigma.detach().float()), atol=1e-5)
    projected = torch.randn(found.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (found * projected).sum().backward()
    with torch.no_grad():
        step = 0.002 * sigma  # networks of discrete times wave between them
        rise = ((opened(x, sigma + step) - opened(x, sigma - step)) * projected).flatten(1).sum(1) / (2 * step)
    assert sigma.grad is not None
    assert sigma.grad.tolist() == pytest.approx(rise.tolist(), rel=0.05, abs=0.05)


def test_a_gaussian_is_solved_far_better_than_by_2m() -> None:
    law, n = spectrum(), 5
    asked = problem(law)
    found = fit(asked, n, BUDGET)
    noise = fresh(law, 500)
    exact = law.flow(law.sigma_max * noise, law.sigma_max, 0.0)
    span = {"sigma_max": law.sigma_max, "sigma_min": law.sigma_min}
    stock = [rule(n, **span, terminal="zero") for rule in (edm, log_snr)]
    best = min(_error(sample(SOLVERS["dpmpp_2m"], law.denoise, levels, noise), exact) for levels in stock)
    assert _error(found.sample(law.denoise, noise), exact) < best / 50
    validations = BUDGET.iterations // BUDGET.every + 3
    expected = BUDGET.levels * (BUDGET.noises + BUDGET.validation) + validations * n * BUDGET.validation
    assert found.trace[-1].evaluations == expected + (1 + BACKWARD) * n * BUDGET.batch * BUDGET.iterations
    assert [each.error for each in found.trace] == sorted((each.error for each in found.trace), reverse=True)


def test_a_mixture_is_solved_far_better_than_by_2m() -> None:
    law, n = plane(), 6
    found = fit(problem(law), n, BUDGET)
    assert np.all(np.diff(found.levels) < 0)
    assert law.sigma_max >= found.levels[0]
    assert found.levels[-2] > law.sigma_min
    assert found.weights.shape == (n, HISTORY)
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(n))
    assert np.all(found.weights[np.triu_indices(n, 1, HISTORY)] == 0)
    noise = fresh(law, 1000)
    span = {"sigma_max": law.sigma_max, "sigma_min": law.sigma_min, "terminal": "zero"}
    reference = sample(SOLVERS["dpmpp_2m"], law.denoise, log_snr(400, **span), noise)
    stock = [sample(SOLVERS["dpmpp_2m"], law.denoise, rule(n, **span), noise) for rule in (edm, log_snr)]
    own = found.sample(law.denoise, noise)
    assert _error(own, reference) < min(_error(each, reference) for each in stock) / 4
    assert _median(own, reference) < min(_median(each, reference) for each in stock) / 100


def _error(samples: Tensor, reference: Tensor) -> float:
    return float((samples - reference).square().sum(1).mean())


def _median(samples: Tensor, reference: Tensor) -> float:
    return float((samples - reference).square().sum(1).median())
