"""The fitted solver: printed methods are its members, its weights are regressions, and its cost is below that of every member."""

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, exact_flow_profile, flow_profile, plane, spectrum
from worker.ays.analytic import Gaussian
from worker.ays.noise import Array
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.cost import StepCost
from worker.ays.profile.profile import log_grid
from worker.ays.search.fitted import FittedCost, rollout_weights
from worker.ays.search.reference import ReferenceSet, reference_grid, solve_reference, squared_errors
from worker.ays.search.shortest_path import solve
from worker.ays.solvers import FITTED, HISTORY, SOLVERS, sample
from worker.ays.solvers.fitted import printed_weights

LAW = plane()
UNEVEN = [20.0, 11.0, 5.5, 3.9, 1.7, 0.8, 0.41, 0.15]
MEMBERS = ["ddim", "dpmpp_2m", "res_multistep", "dpmpp_3m", "unipc", "unipc_3"]
terminals = pytest.mark.parametrize("last", [0.0, 0.05], ids=["zero", "sigma_min"])


def noises(n: int = 5) -> torch.Tensor:
    return starting_noise(LAW.shape, range(n), seed=0, stream=Stream.FRESH)


@pytest.mark.parametrize("name", MEMBERS)
@terminals
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_with_printed_weights_it_is_the_printed_method(name: str, last: float, steps: int) -> None:
    levels = np.array([*UNEVEN[:steps], last])
    weights = printed_weights(SOLVERS[name], levels)
    assert weights.shape == (steps, HISTORY)
    assert weights.sum(axis=1) == pytest.approx(np.ones(steps), rel=1e-12)
    expected = sample(SOLVERS[name], LAW.denoise, levels, noises())
    torch.testing.assert_close(sample(FITTED, LAW.denoise, levels, noises(), weights=weights), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sddim", "heun", "deis", "ipndm", "fitted", "res_2s"])
def test_methods_that_are_no_members_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"received {name}; expected a multistep method of the ODE that combines at most 4 denoised"):
        printed_weights(SOLVERS[name], np.array([2.0, 1.0, 0.0]))


@terminals
def test_with_weights_of_one_evaluation_it_is_ddim(last: float) -> None:
    levels, weights = np.array([*UNEVEN, last]), np.zeros((8, HISTORY))
    weights[:, 0] = 1.0
    expected = sample(SOLVERS["ddim"], LAW.denoise, levels, noises())
    torch.testing.assert_close(sample(FITTED, LAW.denoise, levels, noises(), weights=weights), expected, rtol=1e-12, atol=1e-12)


def test_without_weights_it_is_refused() -> None:
    with pytest.raises(ValueError, match="received no weights for fitted; expected those of its schedule"):
        sample(FITTED, LAW.denoise, np.array([2.0, 1.0, 0.0]), noises())


def test_schedules_with_weights_run_side_by_side_as_they_do_alone_and_share_what_agrees() -> None:
    levels = np.array([UNEVEN[:5], UNEVEN[:5], [*UNEVEN[:3], 3.0, 1.0]])
    weights = np.stack([printed_weights(SOLVERS["dpmpp_3m"], row) for row in levels])
    weights[1, 2, :2] += [0.1, -0.1]
    denoise = evaluator(LAW)
    together = sample(FITTED, denoise, levels, noises(), weights=weights)
    assert denoise.evaluations == 5 * (1 + 1 + 1 + 3)
    for row, own, found in zip(levels, weights, together, strict=True):
        torch.testing.assert_close(found, sample(FITTED, LAW.denoise, row, noises(), weights=own), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ends", [(60, 100, 150), (20, 90, 160), (100, 140, 220)])
def test_the_weights_of_a_gaussian_coordinate_are_the_closed_form_regression(ends: tuple[int, int, int]) -> None:
    """`x_u = x (v + u^2)^(1/2)`, so D is a known function of sigma, and two weights of sum 1 reproduce its mean over the step exactly."""
    law = Gaussian(0.5, sigma_min=0.02, sigma_max=20.0)
    levels = log_grid(20.0, 0.02, 321)
    cost = FittedCost(exact_flow_profile(law, levels, torch.full((1, 1), 20.0, dtype=torch.float64))[0])
    before, now, then = ends
    v, (s_before, s, s_then) = 0.25, levels[list(ends)]
    estimate = lambda u: v / np.sqrt(v + u**2)  # noqa: E731
    # integral of D d(1/u) = [-(v + u^2)^(1/2) / u], up to the sign: d/du ((v + u^2)^(1/2) / u) = -v / (u^2 (v + u^2)^(1/2)).
    integral = np.sqrt(v + s_then**2) / s_then - np.sqrt(v + s**2) / s
    mean = integral / (1 / s_then - 1 / s)
    expected = (mean - estimate(s)) / (estimate(s_before) - estimate(s))
    received = cost.weights([now, before], then)
    assert received.sum() == pytest.approx(1, rel=1e-12)
    assert received[1] == pytest.approx(expected, rel=5e-3)
    closing = (estimate(levels[-1]) - estimate(s)) / (estimate(s_before) - estimate(s))
    assert cost.weights([now, before], None)[1] == pytest.approx(closing, rel=1e-3)
    assert cost.weights([now], then).tolist() == [1.0]


def injected(profile, knots: list[int], end: int | None, weights: Array) -> float:
    """`E || e ||^2` of one step with any weights, by the profile's own quadratic form."""
    cost = FittedCost(profile)
    k, past = profile.moments, knots
    if end is None:
        norm, target, square = 1.0, k[-1], k[-1, -1]
    else:
        i = knots[0]
        norm, target = cost._norm[end] - cost._norm[i], cost._cross[end] - cost._cross[i]
        square = cost._square[end, end] - 2 * cost._square[end, i] + cost._square[i, i]
    w = norm * weights[: len(past)]
    return float(square - 2 * w @ target[past] + w @ k[np.ix_(past, past)] @ w)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "dpmpp_3m", "res_multistep"])
@terminals
def test_no_printed_method_has_a_smaller_error_from_the_same_evaluations(name: str, last: float) -> None:
    """Step by step, and so in sum; to a per mille, which is what the ridge gives away."""
    profile = flow_profile(LAW, points=40, paths=8)
    cost, knots, to_zero = FittedCost(profile), np.array([0, 7, 13, 20, 26, 31, 39]), last == 0
    levels = np.append(profile.levels[knots], 0.0) if to_zero else profile.levels[knots]
    ours, printed = cost.schedule_weights(knots, to_zero=to_zero), printed_weights(SOLVERS[name], levels)
    history = SOLVERS[name].history
    totals = np.zeros(2)
    for step in range(len(levels) - 1):
        end = int(knots[step + 1]) if step + 1 < len(knots) else None
        past = [int(knots[step - m]) for m in range(min(history, step + 1))]
        best = np.append(cost.weights(past, end), np.zeros(HISTORY))[:HISTORY]
        own = [injected(profile, past, end, row) for row in (best, printed[step])]
        longer = [int(knots[step - m]) for m in range(min(HISTORY, step + 1))]
        assert own[0] <= own[1] * 1.001 + 1e-12
        assert injected(profile, longer, end, ours[step]) <= own[0] * 1.001 + 1e-12
        totals += own
    assert name == "ddim" or totals[0] < 0.9 * totals[1]


@pytest.mark.parametrize("to_zero", [True, False])
def test_the_table_has_the_cost_of_the_best_two_weights(to_zero: bool) -> None:
    profile = flow_profile(LAW, points=24, paths=8)
    cost = FittedCost(profile)
    table = cost.table(1.8)
    for k, i, j in [(0, 5, 9), (3, 4, 12), (10, 15, 23)]:
        scale = profile.levels[j] ** 1.8 * profile.levels[j] ** -2.0
        assert table.step[i, j] == pytest.approx(injected(profile, [i], j, np.ones(1)) * profile.levels[j] ** 2 * scale, rel=1e-6)
        assert table.step[i, j] == pytest.approx(
            float(StepCost(profile, SOLVERS["ddim"], exponent=1.8)(np.array(i), np.array(j))), rel=1e-6
        )
        weights = cost.weights([i, k], j)
        # The ridge's own term is in the table, not in the error: nothing beside either evaluation's.
        assert table.pair[k, i, j] == pytest.approx(injected(profile, [i, k], j, weights) * profile.levels[j] ** 2 * scale, rel=0.02)
        assert table.pair[k, i, j] <= float(StepCost(profile, SOLVERS["dpmpp_2m"], exponent=1.8)(*map(np.array, (k, i, j)))) * 1.001
    ours = solve(table, steps_max=6, to_zero=to_zero)
    assert ours.possible(6)
    assert np.all(np.diff(ours.knots(6)) > 0)


def training(law, intervals: int = 60, n: int = 16, stream: Stream = Stream.TRAINING) -> ReferenceSet:
    levels = reference_grid(law.sigma_max, law.sigma_min, intervals)
    return solve_reference(
        FITTED, law.denoise, law.shape, levels=levels, terminal="zero", indices=range(n), seed=0, stream=stream, keep_states=True
    )


@pytest.mark.parametrize(("law", "factor"), [(spectrum(), 0.2), (LAW, 0.6)], ids=["spectrum", "plane"])
def test_weights_along_the_rollout_lower_the_error_on_fresh_noises(law, factor: float) -> None:
    noises = training(law)
    knots = np.array([0, 12, 24, 34, 42, 50, 57])
    levels = np.append(noises.levels[knots], 0.0)
    prior = printed_weights(SOLVERS["dpmpp_2m"], levels)
    denoise = evaluator(law)
    found = rollout_weights(denoise, levels, prior, noises)
    assert found.sum(axis=1) == pytest.approx(np.ones(7), rel=1e-9)
    assert denoise.evaluations == 7 * 16
    fresh = training(law, n=128, stream=Stream.FRESH)
    before, after = (squared_errors(FITTED, law.denoise, levels[None], fresh, each[None]).mean() for each in (prior, found))
    assert after < factor * before
