"""Costs: equal to the real sampler's one-step error, to naive integrals over stored paths, and to closed forms."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from tests.ays import naive, naive_solvers
from tests.ays.problems import FIXED, exact_flow_profile, exact_forward_profile, flow_profile, forward_profile, line, plane, spectrum
from worker.ays.analytic import AnisotropicGaussian, Gaussian
from worker.ays.paths import Stream, forward_paths
from worker.ays.profile.cost import StepCost, klub, tabulate
from worker.ays.profile.integrals import contraction
from worker.ays.profile.profile import Profile, log_grid, measure_forward, merge
from worker.ays.solvers import SOLVERS, sample, trajectory

FINE = 601
"""Levels of the grids on which entries are compared with the real sampler: `h = 0.0115`, so K, taken as linear in ln sigma between
levels, is off by some `h^2 / 8 = 2e-5` of its second derivative; a step's error is a difference of such terms, hence 1e-3 below."""


def at(*knots: int) -> list[np.ndarray]:
    return [np.array(knot) for knot in knots]


@pytest.fixture(scope="module")
def exact() -> tuple[AnisotropicGaussian, Profile, torch.Tensor]:
    """A Gaussian spectrum, its flow profile on a fine grid along exact paths, and the paths' states."""
    law = spectrum()
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(32, 5, generator=generator, dtype=torch.float64) * (law.variances + 400).sqrt()
    return law, *exact_flow_profile(law, log_grid(20.0, 0.02, FINE), start)


STEPS = [(0, 60), (0, 300), (100, 130), (200, 300), (350, 500), (480, 540), (540, 600)]


def squared(difference: torch.Tensor) -> float:
    return difference.square().sum(1).mean().item()


@pytest.mark.parametrize("exponent", [0.0, 1.8])
@pytest.mark.parametrize(("i", "j"), STEPS)
def test_first_order_entries_are_the_injected_error_of_the_real_sampler(exact, i: int, j: int, exponent: float) -> None:
    law, profile, states = exact
    levels = profile.levels
    reached = sample(SOLVERS["ddim"], law.denoise, levels[[i, j]], states[i] / levels[i])
    expected = squared(reached - states[j]) * levels[j] ** (exponent - 2)
    assert float(StepCost(profile, SOLVERS["ddim"], exponent=exponent)(*at(i, j))) == pytest.approx(expected, rel=1e-3)
    for name in ("heun", "dpmpp_2s"):
        assert float(StepCost(profile, SOLVERS[name], exponent=exponent)(*at(i, j), closing=True)) == pytest.approx(expected, rel=1e-3)


HISTORIES = [(0, 60, 120), (0, 100, 300), (100, 130, 200), (200, 320, 350), (400, 500, 600), (300, 340, 400, 430)]
HISTORIES += [(0, 80, 200, 260), (300, 420, 470, 600), (380, 400, 420, 440, 470), (0, 150, 280, 400, 520)]
EXACT_ODE = [name for name, solver in FIXED.items() if solver.exact and not solver.stochastic and solver.multistep]


def combined(solver, law, profile, states, knots: tuple[int, ...], weights: np.ndarray, found: dict[int, torch.Tensor]) -> torch.Tensor:
    """State after one step from the exact path, with evaluations there unless others were found."""
    *_, i, j = knots
    levels = profile.levels
    evaluated = list(knots[::-1]) if len(weights) == len(knots) else list(knots[-2::-1])
    total = torch.zeros_like(states[0])
    for weight, k in zip(weights, evaluated, strict=True):
        estimate = found.get(k, law.denoise(states[k], torch.full((len(states[k]),), levels[k], dtype=torch.float64)))
        total = total + float(weight) * ((states[k] - estimate) / levels[k] if solver.combines == "slopes" else estimate)
    if solver.combines == "slopes":
        return states[i] + (levels[j] - levels[i]) * total
    return levels[j] / levels[i] * states[i] + (1 - levels[j] / levels[i]) * total


@pytest.mark.parametrize("name", EXACT_ODE)
@pytest.mark.parametrize("knots", HISTORIES)
def test_multistep_entries_are_the_injected_error_of_the_real_sampler(exact, name: str, knots: tuple[int, ...]) -> None:
    """One step with the declared weights from the exact path, whatever the length of the history."""
    law, profile, states = exact
    solver = SOLVERS[name]
    knots = knots[-solver.history - 1 :]
    reached = combined(solver, law, profile, states, knots, solver.weights(profile.levels[list(knots[::-1])]), {})
    cost = StepCost(profile, solver, exponent=2.0)
    assert float(cost(*at(*knots))) == pytest.approx(squared(reached - states[knots[-1]]), rel=5e-3)


@pytest.mark.parametrize("name", ["unipc", "unipc_3"])
@pytest.mark.parametrize(
    "knots", [(0, 60, 120, 180), (100, 220, 300, 360), (300, 360, 400, 460), (380, 420, 460, 500), (360, 450, 520, 590)]
)
def test_corrected_entries_are_the_error_of_the_real_corrector_to_a_factor(exact, name: str, knots: tuple[int, ...]) -> None:
    """The corrector's evaluation is at the predicted state; moments on the path know it by the mean passed-on displacement alone.

    Without that term entries at low noise are a tenth of the error.
    """
    law, profile, states = exact
    solver = SOLVERS[name]
    knots = knots[-solver.history - 1 :]
    levels = profile.levels[list(knots[::-1])]
    predicted = combined(solver, law, profile, states, knots, solver.weights(levels), {})
    found = {knots[-1]: law.denoise(predicted, torch.full((32,), levels[0], dtype=torch.float64))}
    reached = combined(solver, law, profile, states, knots, solver.corrector(levels), found)
    ratio = float(StepCost(profile, solver, exponent=2.0)(*at(*knots))) / squared(reached - states[knots[-1]])
    assert 0.3 < ratio < 2.5
    closing = float(StepCost(profile, solver, exponent=2.0)(*at(*knots), closing=True))
    assert closing == pytest.approx(squared(predicted - states[knots[-1]]), rel=5e-3)


def test_a_gaussian_passes_on_what_its_path_bends() -> None:
    """For one variance kappa is v / (v + sigma^2), read off moments along the path alone."""
    law = spectrum(1)
    levels = log_grid(20.0, 0.02, 121)
    profile, _ = exact_flow_profile(law, levels, torch.full((1, 1), 20.0, dtype=torch.float64))
    expected = float(law.variances[0]) / (float(law.variances[0]) + levels**2)
    assert contraction(levels, profile.moments)[10:-10] == pytest.approx(expected[10:-10], abs=0.02)


TWO_STAGES = [name for name, solver in FIXED.items() if solver.stage is not None]


@pytest.mark.parametrize("name", TWO_STAGES)
@pytest.mark.parametrize("i", [0, 100, 250, 400, 500, 580])
def test_two_stage_entries_are_the_error_of_the_real_sampler_to_leading_order(exact, name: str, i: int) -> None:
    """The second evaluation is off the path, which moments on the path cannot see: exact for short steps, 0.12 to 0.23 in ln sigma here."""
    law, profile, states = exact
    j = i + (20 if name in ("heun", "dpmpp_2s") else 10)
    levels = profile.levels
    visited, _ = trajectory(SOLVERS[name], law.denoise, np.array([levels[i], levels[j], levels[j] / 2]), states[i] / levels[i])
    expected = squared(visited[1] - states[j])
    assert float(StepCost(profile, SOLVERS[name], exponent=2.0)(*at(i, j))) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("name", TWO_STAGES)
@pytest.mark.parametrize(("i", "j"), [(0, 150), (200, 350), (400, 550)])
def test_two_stage_entries_stay_near_on_long_steps(exact, name: str, i: int, j: int) -> None:
    law, profile, states = exact
    levels = profile.levels
    visited, _ = trajectory(SOLVERS[name], law.denoise, np.array([levels[i], levels[j], levels[j] / 2]), states[i] / levels[i])
    ratio = float(StepCost(profile, SOLVERS[name], exponent=2.0)(*at(i, j))) / squared(visited[1] - states[j])
    # On wide spectra the real error of RES-2S nearly cancels where a step crosses the data, which no entry sees.
    assert 0.5 < ratio < (6 if name == "res_2s" else 2)


@pytest.mark.parametrize(("i", "j"), [(0, 60), (100, 300), (350, 500)])
def test_heuns_entries_count_the_printed_error_of_the_trapezoid_twice(exact, i: int, j: int) -> None:
    law, profile, states = exact
    inside = profile.levels[i : j + 1]
    visited = states[i : j + 1]
    estimates = law.denoise(visited.flatten(0, 1), torch.from_numpy(np.repeat(inside, 32))).reshape(visited.shape)
    integral = torch.trapezoid(estimates, torch.from_numpy(1 / inside), dim=0)
    sigma, then = inside[[0, -1]]
    missed = (sigma + then) / 2 * integral + (then - sigma) / 2 * (estimates[0] / sigma + estimates[-1] / then)
    assert float(StepCost(profile, SOLVERS["heun"], exponent=2.0)(*at(i, j))) == pytest.approx(4 * squared(missed), rel=5e-3)


@pytest.mark.parametrize("solver", [name for name, solver in FIXED.items() if solver.measure == "flow"])
@pytest.mark.parametrize("i", [0, 300, 500, 600])
def test_the_step_to_zero_costs_its_distance_to_the_clean_end(exact, solver: str, i: int) -> None:
    law, profile, states = exact
    clean, reached = (law.denoise(states[g], torch.full((32,), profile.levels[g], dtype=torch.float64)) for g in (FINE - 1, i))
    expected = squared(reached - clean) * profile.levels[-1] ** (1.5 - 2)
    assert float(StepCost(profile, SOLVERS[solver], exponent=1.5).to_zero(np.array(i))) == pytest.approx(expected, rel=1e-9)


def stored_paths(n: int = 3, points: int = 14) -> tuple[np.ndarray, np.ndarray, Profile]:
    """Forward paths of a mixture, D along them, and the profile measured on exactly these paths."""
    law, levels = plane(), log_grid(20.0, 0.05, points)
    x_0 = law.sample_data(n, torch.Generator().manual_seed(2))
    states = forward_paths(x_0, levels, range(n), seed=4, stream=Stream.PROFILE)
    estimates = torch.stack([law.denoise(x, torch.full((n,), s, dtype=torch.float64)) for x, s in zip(states, levels, strict=True)])
    profile = merge([measure_forward(law.denoise, x_0, levels, range(n), seed=4)])
    return estimates.transpose(0, 1).numpy(), levels, profile


ESTIMATES = {"sddim": naive.first_order, "dpmpp_2m_sde": naive.second_order, "dpmpp_3m_sde": naive_solvers.third_order_sde}


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 2.4])
@pytest.mark.parametrize("solver", ["sddim", "dpmpp_2m_sde", "dpmpp_3m_sde"])
@pytest.mark.parametrize("knots", [[0, 13], [0, 4, 9, 13], [0, 1, 2, 8, 10, 13]])
def test_the_bound_is_the_naive_integral_over_the_same_paths(solver: str, exponent: float, knots: list[int]) -> None:
    estimates, levels, profile = stored_paths()
    received = StepCost(profile, SOLVERS[solver], exponent=exponent).total(np.array(knots), to_zero=False)
    # K is linear in ln sigma between levels, and so is ||D_u - Dhat||^2: the two integrals have the same integrand, path by path.
    assert float(received) == pytest.approx(
        naive.girsanov(estimates, levels, knots, exponent=exponent, estimate=ESTIMATES[solver]), rel=1e-8
    )


@pytest.mark.parametrize("exponent", [0.0, 1.3])
@pytest.mark.parametrize("solver", ["sddim", "dpmpp_2m_sde", "dpmpp_3m_sde"])
def test_the_bound_with_a_step_to_zero_counts_its_tail_at_the_weight_of_sigma_min(solver: str, exponent: float) -> None:
    estimates, levels, profile = stored_paths()
    knots = [0, 5, 9, 11]
    body = naive.girsanov(estimates, levels, knots, exponent=exponent, estimate=ESTIMATES[solver])
    rest = naive.girsanov(estimates, levels, [11, 13], exponent=exponent, estimate=naive.first_order)
    jump = np.sum((estimates[:, 13] - estimates[:, 11]) ** 2, axis=1).mean()
    received = StepCost(profile, SOLVERS[solver], exponent=exponent).total(np.array(knots), to_zero=True)
    assert float(received) == pytest.approx(body + rest + jump * levels[-1] ** (exponent - 2), rel=1e-8)


def test_the_first_order_bound_of_a_gaussian_converges_to_the_closed_form_at_second_order() -> None:
    law = Gaussian(0.5, 2, sigma_min=0.02, sigma_max=10.0)
    errors = []
    for points in (65, 129, 257, 513):
        levels = log_grid(10.0, 0.02, points)
        knots = np.arange(0, points, (points - 1) // 4)
        received = StepCost(exact_forward_profile(law.mmse, levels), SOLVERS["sddim"], exponent=0.0).total(knots, to_zero=False)
        errors.append(abs(float(received) / law.klub(levels[knots]) - 1))
    assert errors[-1] < 1e-4
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2, 2, 2], abs=0.1)


def test_the_bound_needs_the_loss_alone() -> None:
    """For an exact denoiser of any law, by the martingale identity (theory 3)."""
    law, levels = line(), np.array([8.0, 2.0, 0.7, 0.1])
    direct = sum(quad(lambda u, b=b: u**-3 * (law.mmse(b) - law.mmse(u)), a, b, epsrel=1e-8)[0] for b, a in itertools.pairwise(levels))
    assert klub(levels, np.vectorize(law.mmse)) == pytest.approx(direct, rel=1e-6)
    fine = log_grid(8.0, 0.1, 801)
    knots = np.array([int(np.abs(fine - level).argmin()) for level in levels])
    cost = StepCost(exact_forward_profile(law.mmse, fine), SOLVERS["sddim"], exponent=0.0)
    assert float(cost.total(knots, to_zero=False)) == pytest.approx(klub(fine[knots], np.vectorize(law.mmse)), rel=1e-3)


PROFILES = {"flow": flow_profile(plane(), points=16, paths=4), "forward": forward_profile(plane(), points=16, paths=4)}
solvers = pytest.mark.parametrize("solver", FIXED.values(), ids=FIXED)


def profile_of(solver) -> Profile:
    return PROFILES[solver.measure]


tabulated = pytest.mark.parametrize("solver", [s for s in FIXED.values() if s.history <= 2], ids=lambda solver: solver.name)


@tabulated
@pytest.mark.parametrize("to_zero", [False, True])
@settings(deadline=None, derandomize=True, max_examples=12)
@given(interior=st.sets(st.integers(1, 14), max_size=6), exponent=st.floats(0, 3))
def test_totals_are_sums_of_table_entries(solver, to_zero: bool, interior: set[int], exponent: float) -> None:
    knots = np.array([0, *sorted(interior), 15])
    cost = StepCost(profile_of(solver), solver, exponent=exponent)
    table = tabulate(cost)
    expected = float(table.to_zero[15]) if to_zero else 0.0
    for n, (i, j) in enumerate(itertools.pairwise(knots)):
        closing, paired = j == 15 and not to_zero, table.pair is not None and n > 0
        if closing:
            expected += table.pair_to_last[knots[n - 1], i] if paired else table.to_last[i]
        else:
            expected += table.pair[knots[n - 1], i, j] if paired else table.step[i, j]
    assert float(cost.total(knots, to_zero=to_zero)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@tabulated
def test_tables_are_finite_where_a_step_goes_down_and_infinite_elsewhere(solver) -> None:
    table = tabulate(StepCost(profile_of(solver), solver, exponent=1.0))
    index = np.arange(16)
    later = index[None, :] > index[:, None]
    assert np.array_equal(np.isfinite(table.step), later)
    assert (table.pair is not None) == solver.multistep
    if table.pair is not None:
        assert np.array_equal(np.isfinite(table.pair), later[:, :, None] & later[None])
        assert table.pair[np.isfinite(table.pair)].min() >= 0
    assert table.step[later].min() >= 0
    assert table.to_zero.min() >= 0
    assert np.array_equal(np.isfinite(table.to_last), index < 15)


def test_longer_histories_are_not_tabulated() -> None:
    with pytest.raises(ValueError, match="received ipndm, which combines 4 evaluations; a table holds 2"):
        tabulate(StepCost(PROFILES["flow"], SOLVERS["ipndm"], exponent=1.0))


@solvers
@pytest.mark.parametrize("to_zero", [False, True])
def test_totals_are_sums_of_single_steps_with_the_history_that_the_sampler_has(solver, to_zero: bool) -> None:
    cost = StepCost(profile_of(solver), solver, exponent=1.3)
    knots = [0, 2, 5, 6, 9, 11, 13, 15]
    steps = len(knots) - 1 + to_zero
    expected = float(cost.to_zero(np.array(15))) if to_zero else 0.0
    for n in range(len(knots) - 1):
        many = solver.combined(n, steps, to_zero=to_zero)
        closing = not to_zero and n == len(knots) - 2 and solver.closes_differently
        expected += float(cost(*at(*knots[n + 1 - many : n + 2]), closing=closing))
    assert float(cost.total(np.array(knots), to_zero=to_zero)) == pytest.approx(expected, rel=1e-12)


@solvers
def test_schedules_of_several_lengths_are_costed_side_by_side(solver) -> None:
    cost = StepCost(profile_of(solver), solver, exponent=1.8)
    ragged = np.array([[0, 3, 9, 15, 0], [0, 15, 0, 0, 0], [0, 2, 5, 8, 14], [0, 4, 3, 15, 0], [0, 9, 17, 0, 0]])
    counts = np.array([4, 2, 5, 4, 3])
    for to_zero in (False, True):
        received = cost.steps(ragged, counts, to_zero=to_zero).sum(axis=1)
        alone = [float(cost.total(row[:count], to_zero=to_zero)) for row, count in zip(ragged[:3], counts, strict=False)]
        assert received[:3] == pytest.approx(alone, rel=1e-12)
        assert np.isinf(received[3:]).all()


@solvers
def test_schedules_are_costed_side_by_side(solver) -> None:
    cost = StepCost(profile_of(solver), solver, exponent=1.8)
    knots = np.array([[0, 3, 9, 15], [0, 7, 8, 15]])
    alone = [float(cost.total(row, to_zero=False)) for row in knots]
    assert cost.total(knots, to_zero=False) == pytest.approx(alone, rel=1e-12)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(scale=st.floats(0.01, 100), solver=st.sampled_from(["sddim", "dpmpp_2m_sde", "dpmpp_3m_sde"]))
def test_scaling_data_and_noise_together_leaves_the_bound_unchanged(scale: float, solver: str) -> None:
    profile = PROFILES["forward"]
    scaled = Profile("forward", profile.levels * scale, profile.moments * scale**2, profile.standard_errors, 4, 0)
    knots = np.array([0, 4, 9, 12, 15])
    totals = [float(StepCost(p, SOLVERS[solver], exponent=0.0).total(knots, to_zero=end)) for p in (profile, scaled) for end in (0, 1)]
    assert totals[2:] == pytest.approx(totals[:2], rel=1e-9)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(interior=st.sets(st.integers(1, 30), max_size=8), new=st.integers(1, 30), exponent=st.floats(0, 2.4), to_zero=st.booleans())
def test_inserting_a_knot_never_raises_the_first_order_bound(interior: set[int], new: int, exponent: float, to_zero: bool) -> None:
    """With exact moments: then each step costs the loss's excess over its end, which a knot in between can only lower."""
    law = line()
    profile = exact_forward_profile(law.mmse, log_grid(20.0, 0.05, 32))
    cost = StepCost(profile, SOLVERS["sddim"], exponent=exponent)
    before, after = (float(cost.total(np.array([0, *sorted(s), 31]), to_zero=to_zero)) for s in (interior, interior | {new}))
    assert after <= before * (1 + 1e-12)


def test_the_bound_of_data_that_is_one_point_is_zero() -> None:
    """Dirac data: D is constant, so K of `r = D - x_0` is zero and every schedule is free."""
    levels = log_grid(10.0, 0.1, 8)
    profile = Profile("forward", levels, np.zeros((8, 8)), np.zeros((8, 8)), 1, 0)
    for name in FIXED:
        assert float(StepCost(profile, SOLVERS[name], exponent=0.0).total(np.array([0, 3, 5, 7]), to_zero=False)) == 0


@solvers
def test_the_order_of_the_paths_changes_nothing(solver) -> None:
    """The reference point of the residuals cancels, too: moments about another point give the same costs."""
    estimates, levels, profile = stored_paths()
    shuffled = estimates[[2, 0, 1]] - 5.0
    moments = np.einsum("ngd,nhd->gh", shuffled, shuffled) / 3
    other = Profile("forward", levels, moments, np.zeros_like(moments), 3, 0)
    knots = np.array([0, 4, 9, 11, 13])
    for to_zero in (False, True):
        first, second = (float(StepCost(p, solver, exponent=1.0).total(knots, to_zero=to_zero)) for p in (profile, other))
        assert second == pytest.approx(first, rel=1e-8)
