"""`sample_fitted` in k-diffusion's and EDM's coordinates, and in a flow model's own, against the naive loop."""

import math
from itertools import pairwise

import pytest
import torch

from ays_client.errors import ScheduleRefused
from ays_client.fitted import known_weights, sample_fitted, steps_within, weights_at
from tests.integrate.fitted import naive, random_weights
from tests.integrate.problems import LEVELS, denoise

SIGMAS = [*LEVELS, 0.0]
NOISE = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def law(x, sigma, *, shift=0.0):
    """A denoiser as k-diffusion calls it: one sigma for each sample."""
    assert sigma.shape == (len(x),)
    assert sigma.dtype is x.dtype
    return (denoise(x, float(sigma[0])) + shift).to(x.dtype)


@pytest.mark.parametrize("history", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_it_is_the_naive_loop(steps, history):
    weights, x = random_weights(8, history=history), SIGMAS[8 - steps] * NOISE
    found = sample_fitted(law, x, torch.tensor(SIGMAS[8 - steps :], dtype=torch.float64), weights)
    torch.testing.assert_close(found, naive(denoise, x, SIGMAS[8 - steps :], weights), atol=1e-12, rtol=0)


def test_a_history_of_one_is_ddim():
    found = sample_fitted(law, SIGMAS[0] * NOISE, torch.tensor(SIGMAS, dtype=torch.float64), [[1.0]] * 8)
    x = SIGMAS[0] * NOISE
    for high, low in pairwise(SIGMAS):
        x = x + (low - high) * (x - denoise(x, high)) / high
    torch.testing.assert_close(found, x, atol=1e-12, rtol=0)


def test_flow_models_are_sampled_in_their_own_coordinates():
    """With t for sigma the same function carries `(1 - t) x_0 + t eps`, from t = 1 on where sigma is infinite."""
    weights, ts = random_weights(8), torch.tensor([sigma / (1 + sigma) for sigma in SIGMAS], dtype=torch.float64)

    def network(x, t):
        sigma = float(t[0] / (1 - t[0])) if t[0] < 1 else 1e9
        return denoise(x * (1 + sigma), sigma)

    found = sample_fitted(network, ts[0] * NOISE, ts, weights)
    torch.testing.assert_close(found, naive(denoise, SIGMAS[0] * NOISE, SIGMAS, weights), atol=1e-10, rtol=0)
    assert torch.isfinite(sample_fitted(network, NOISE, torch.tensor([1.0, *ts[1:].tolist()], dtype=torch.float64), weights)).all()


def test_the_conventions_of_k_diffusion():
    seen = []
    sigmas = torch.tensor(SIGMAS, dtype=torch.float64)
    found = sample_fitted(law, SIGMAS[0] * NOISE, sigmas, random_weights(8), extra_args={"shift": 1.0}, callback=seen.append, disable=True)
    shifted = naive(lambda x, sigma: denoise(x, sigma) + 1.0, SIGMAS[0] * NOISE, SIGMAS, random_weights(8))
    torch.testing.assert_close(found, shifted, atol=1e-12, rtol=0)
    assert [one["i"] for one in seen] == list(range(8))
    assert [float(one["sigma"]) for one in seen] == [float(one["sigma_hat"]) for one in seen] == list(LEVELS)
    torch.testing.assert_close(seen[0]["denoised"], law(seen[0]["x"], sigmas[0] * torch.ones(64, dtype=torch.float64), shift=1.0))
    assert torch.equal(seen[0]["x"], SIGMAS[0] * NOISE)


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01), (torch.float16, 0.002)])
def test_half_precision_reaches_the_model_and_the_state_stays_in_float32(dtype, kept):
    """A denoiser that does not look at the state leaves its rounding alone in the error."""
    weights, target = random_weights(8), torch.full((64, 2), 0.25)

    def constant(x, _sigma):
        assert x.dtype is dtype
        return target.to(dtype)

    found = sample_fitted(constant, (SIGMAS[0] * NOISE).to(dtype), torch.tensor(SIGMAS), weights)
    assert found.dtype is dtype
    assert (found.float() - target).abs().max() < kept * 0.25


def second_order():
    """Weights of DPM-Solver++(2M)."""
    ratios = [math.log(high / low) for high, low in pairwise(LEVELS)]
    return [[1.0], *([1 + now / (2 * before), -now / (2 * before)] for before, now in pairwise(ratios)), [1.0]]


@pytest.mark.parametrize("weights", [[*second_order()[:1], *second_order()], *(random_weights(8, seed=seed) for seed in range(6))])
def test_a_network_in_bfloat16_costs_little_more_than_one_rounding_of_its_outputs(weights):
    """What eight rounded evaluations leave in the sample, in units of the rounding of one; 1.6 with the weights of 2M."""
    sigmas, x = torch.tensor(SIGMAS, dtype=torch.float64), SIGMAS[0] * NOISE
    exact = sample_fitted(law, x, sigmas, weights)
    rounded = sample_fitted(lambda state, sigma: law(state, sigma).bfloat16().double(), x, sigmas, weights)
    one = (exact.bfloat16().double() - exact).square().mean().sqrt()
    assert 0 < float((rounded - exact).square().mean().sqrt() / one) < 4


def test_too_many_steps():
    with pytest.raises(ValueError, match="received 9 sigmas, expected at most 8 for 7 lists of weights; fix: pass the schedule's own"):
        sample_fitted(law, NOISE, torch.tensor(SIGMAS), random_weights(7))


def test_missing_evaluations_give_their_weights_to_the_oldest():
    assert known_weights([0.5, 0.75, -0.5, 0.25], 2) == [0.5, 0.5]
    assert known_weights([0.5, 0.75, -0.5, 0.25], 1) == [1.0]
    assert known_weights([0.5, 0.5], 4) == [0.5, 0.5]
    with pytest.raises(ValueError, match="known=0"):
        known_weights([1.0], 0)


def test_a_step_has_the_weights_of_the_step_it_lies_in():
    weights = random_weights(8)
    for index, (high, low) in enumerate(pairwise(SIGMAS)):
        assert weights_at(SIGMAS, weights, high, low) is weights[index]
        assert weights_at(SIGMAS, weights, math.sqrt(high * low) if low else 0.9 * high, low) is weights[index]
    assert weights_at(SIGMAS, weights, 1e-9, 0.0) is weights[7]
    assert weights_at(SIGMAS, weights, 100.0, 50.0) is weights[0]


@pytest.mark.parametrize(("first", "last"), [(0, 8), (3, 8), (0, 4), (2, 5), (8, 8)])
def test_a_part_of_the_levels_is_found(first, last):
    found = steps_within(SIGMAS, torch.tensor(SIGMAS[first : last + 1]).tolist())
    assert (found.start, found.stop) == (first, last)


@pytest.mark.parametrize("levels", [[5.0, 0.0], [13.9, 3.3], [*SIGMAS[:8], 0.001], [*SIGMAS, 0.0]])
def test_other_levels_are_refused(levels):
    with pytest.raises(ScheduleRefused, match="its weights belong to its own levels"):
        steps_within(SIGMAS, levels)
