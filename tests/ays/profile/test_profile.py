"""The profile: shards that add, JSON that keeps every bit, errors that are calibrated, and the moments themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ays.problems import (
    evaluator,
    exact_forward_profile,
    flow_profile,
    flow_shard,
    forward_profile,
    forward_shard,
    line,
    plane,
    spectrum,
)
from worker.ays.analytic import AnisotropicGaussian, GaussianMixture
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.cost import StepCost
from worker.ays.profile.profile import Profile, Shard, log_grid, measure_flow, merge, refine_grid
from worker.ays.solvers import SOLVERS

measures = pytest.mark.parametrize("shard", [flow_shard, forward_shard])


def assert_same(received: Profile, expected: Profile, *, rtol: float = 0, atol: float = 0) -> None:
    for name in ("levels", "moments", "standard_errors"):
        np.testing.assert_allclose(getattr(received, name), getattr(expected, name), rtol=rtol, atol=atol)
    assert (received.measure, received.paths, received.evaluations) == (expected.measure, expected.paths, expected.evaluations)


def test_the_grid_is_log_spaced_between_exact_ends() -> None:
    grid = log_grid(14.6146, 0.02917, 20)
    assert (grid[0], grid[-1]) == (14.6146, 0.02917)
    assert np.diff(np.log(grid)) == pytest.approx(np.log(0.02917 / 14.6146) / 19)


@measures
def test_shards_merge_to_the_profile_of_one_measurement(shard) -> None:
    whole = merge([shard(plane(), points=12, paths=range(7))])
    parts = [shard(plane(), points=12, paths=paths) for paths in (range(3), range(3, 4), range(4, 7))]
    scale = np.abs(whole.moments).max()
    assert_same(merge(parts), whole, rtol=1e-10, atol=1e-12 * scale)


@measures
def test_every_moment_is_the_same_however_paths_are_sharded(shard) -> None:
    """Sixteen paths as one shard, four by four, and one by one; the moments of the mean and the price of a start with them."""
    whole, quarters, ones = (
        merge([Shard.from_json(shard(plane(), points=10, paths=range(at, at + size)).to_json()) for at in range(0, 16, size)])
        for size in (16, 4, 1)
    )
    solver = SOLVERS["ddim" if whole.measure == "flow" else "sddim"]
    starts = [StepCost(profile, solver, exponent=1.8).start(np.arange(10)) for profile in (whole, quarters, ones)]
    scale = np.abs(whole.moments).max()
    for profile, start in zip((quarters, ones), starts[1:], strict=True):
        assert_same(profile, whole, rtol=1e-10, atol=1e-12 * scale)
        assert profile.mean_moments == pytest.approx(whole.mean_moments, rel=1e-10)
        np.testing.assert_allclose(profile.drift, whole.drift, rtol=1e-9, atol=1e-11 * scale)
        assert start == pytest.approx(starts[0], rel=1e-9)
    np.testing.assert_allclose(quarters.groups, whole.groups, rtol=1e-10, atol=1e-12 * scale)


@settings(deadline=None, derandomize=True, max_examples=10)
@given(order=st.permutations(range(4)))
def test_the_order_of_shards_changes_not_a_bit(order: list[int]) -> None:
    parts = [forward_shard(line(), points=6, paths=range(2 * i, 2 * i + 2)) for i in range(4)]
    assert_same(merge([parts[i] for i in order]), merge(parts))


@measures
def test_shards_survive_json_bit_for_bit(shard) -> None:
    expected = shard(plane(), points=9, paths=range(3, 6))
    received = Shard.from_json(json.loads(json.dumps(expected.to_json())))
    assert received.to_json() == expected.to_json()
    assert_same(merge([received]), merge([expected]))


@pytest.mark.parametrize("break_it", [{"groups": [[[1.0]]]}, {"squares": [[1.0]]}, {"drift": "nan"}, {"squares": "nan"}, {"groups": []}])
def test_damaged_shards_are_refused(break_it: dict[str, object]) -> None:
    body = forward_shard(line(), points=2, paths=range(2)).to_json()
    bad = {key: np.full_like(body[key], np.nan).tolist() if value == "nan" else value for key, value in break_it.items()}
    with pytest.raises(ValueError, match=r"received a shard with levels .*; expected finite arrays of shapes G, B x "):
        Shard.from_json(body | bad)


@measures
def test_the_batch_size_does_not_change_the_profile(shard) -> None:
    whole, small = (merge([shard(plane(), points=10, paths=range(5), batch=batch)]) for batch in (4096, 3))
    assert_same(small, whole, rtol=1e-9, atol=1e-12 * np.abs(whole.moments).max())


@measures
def test_a_seed_decides_everything(shard) -> None:
    first, again, other = (merge([shard(plane(), points=8, paths=range(3), seed=seed)]) for seed in (5, 5, 6))
    assert_same(again, first)
    assert not np.isclose(other.moments[:-1, :-1], first.moments[:-1, :-1]).all()


def test_flow_measurement_also_returns_the_denoised_ends_of_the_paths() -> None:
    law = spectrum()
    shard, paths = measure_flow(evaluator(law), law.shape, log_grid(20.0, 0.02, 300), range(4), seed=0)
    exact = law.flow(20.0 * starting_noise(law.shape, range(4), seed=0, stream=Stream.PROFILE), 20.0, 0.02)
    torch.testing.assert_close(paths.ends, law.denoise(exact, torch.full((4,), 0.02, dtype=torch.float64)), rtol=1e-3, atol=0)
    torch.testing.assert_close(paths.states[0], 20.0 * paths.noise)
    torch.testing.assert_close(paths.states[-1], exact, rtol=1e-3, atol=0)
    assert shard.evaluations == 4 * 300


@pytest.mark.parametrize("law", [spectrum(), line(), plane()], ids=["spectrum", "line", "plane"])
def test_forward_moments_are_the_loss_of_the_lower_level(law: AnisotropicGaussian | GaussianMixture) -> None:
    """Every entry, `K[g, h] = mmse(min(sigma_g, sigma_h))`, within 4 of its own standard errors; so is the diagonal."""
    profile = forward_profile(law, points=7, paths=1500)
    expected = exact_forward_profile(law.mmse, profile.levels).moments
    assert (np.abs(profile.moments - expected) < 4 * profile.standard_errors).all()
    gaps = np.diag(profile.moments)[:, None] + np.diag(profile.moments)[None, :] - 2 * profile.moments
    losses = np.array([law.mmse(level) for level in profile.levels])
    identity = np.abs(losses[:, None] - losses[None, :])
    assert gaps[np.triu_indices(7, 1)] == pytest.approx(identity[np.triu_indices(7, 1)], rel=0.25)


@measures
def test_standard_errors_are_calibrated(shard) -> None:
    profiles = [merge([shard(plane(), points=5, paths=range(60), seed=seed)]) for seed in range(40)]
    spread = np.std([profile.moments for profile in profiles], axis=0, ddof=1)
    reported = np.sqrt(np.mean([profile.standard_errors**2 for profile in profiles], axis=0))
    measured = reported > 0  # the flow's last level is its own reference: its residual is 0
    # The deviation of 40 draws is known to 11 %; 4 of those, and room for heavy tails.
    assert np.all(np.abs(spread[measured] / reported[measured] - 1) < 0.5)
    assert np.mean(spread[measured] / reported[measured]) == pytest.approx(1, abs=0.2)


def test_a_single_path_has_unknown_errors() -> None:
    assert np.isinf(merge([forward_shard(line(), points=4, paths=range(1))]).standard_errors).all()


@measures
def test_moments_are_symmetric_and_positive_semidefinite(shard) -> None:
    k = merge([shard(plane(), points=20, paths=range(4))]).moments
    np.testing.assert_allclose(k, k.T, rtol=1e-12, atol=1e-13)
    assert np.linalg.eigvalsh((k + k.T) / 2).min() > -1e-12 * np.trace(k)


def test_the_reference_of_flow_paths_is_their_clean_end() -> None:
    assert np.all(flow_profile(plane(), points=10, paths=3).moments[-1] == 0)


def test_overlapping_shards_are_refused() -> None:
    first, second = (forward_shard(line(), points=4, paths=paths) for paths in (range(3), range(2, 5)))
    with pytest.raises(ValueError, match="received overlapping shards at path 2; expected disjoint ranges of paths"):
        merge([second, first])


def test_shards_of_two_measures_or_grids_are_refused() -> None:
    first = forward_shard(line(), points=4, paths=range(2))
    flow = flow_shard(line(), points=4, paths=range(2, 4))
    with pytest.raises(ValueError, match="received shards of forward and flow; expected one measure on one grid"):
        merge([first, flow])
    with pytest.raises(ValueError, match="expected one measure on one grid"):
        merge([first, replace(first, start=2, levels=first.levels * 1.1)])


def test_no_shards_are_refused() -> None:
    with pytest.raises(ValueError, match="received no shards; expected at least one"):
        merge([])


@pytest.mark.parametrize("profile", [flow_profile, forward_profile])
@pytest.mark.parametrize("factor", [2, 5])
def test_a_finer_grid_keeps_the_measured_entries_exactly(profile, factor: int) -> None:
    coarse = profile(plane(), points=9, paths=3)
    fine = refine_grid(coarse, factor)
    assert len(fine.levels) == 8 * factor + 1
    for name in ("levels", "moments", "standard_errors"):
        kept = getattr(fine, name)[::factor] if name == "levels" else getattr(fine, name)[::factor, ::factor]
        np.testing.assert_array_equal(kept, getattr(coarse, name))
    assert np.all(np.diff(fine.levels) < 0)
    np.testing.assert_allclose(fine.moments, fine.moments.T, rtol=1e-12, atol=1e-13)


def test_a_finer_grid_reproduces_forward_kernels_whose_loss_is_linear() -> None:
    """Martingale kernels `K[g, h] = mmse(min)`, with the loss linear in ln sigma, are reproduced also inside diagonal cells."""
    levels = log_grid(10.0, 0.1, 8)
    fine = refine_grid(exact_forward_profile(lambda s: 3 + np.log(s), levels), 6)
    expected = exact_forward_profile(lambda s: 3 + np.log(s), fine.levels).moments
    np.testing.assert_allclose(fine.moments, expected, rtol=1e-12)


def test_a_finer_grid_reproduces_flow_kernels_that_are_linear() -> None:
    levels = log_grid(10.0, 0.1, 8)

    def kernel(at: np.ndarray) -> np.ndarray:
        z = np.log(at)
        return (1 + z)[:, None] * (1 + z)[None, :] + 0.5 * z[:, None] * z[None, :]

    profile = Profile("flow", levels, kernel(levels), np.zeros((8, 8)), 1, 0)
    fine = refine_grid(profile, 6)
    np.testing.assert_allclose(fine.moments, kernel(fine.levels), rtol=1e-12, atol=1e-12)


def test_a_finer_grid_converges_to_the_kernel_of_a_gaussian() -> None:
    law = spectrum()
    errors = []
    for points in (17, 33):
        fine = refine_grid(exact_forward_profile(law.mmse, log_grid(20.0, 0.02, points)), 64 // (points - 1) * 2)
        expected = exact_forward_profile(law.mmse, fine.levels).moments
        errors.append(np.abs(fine.moments - expected).max())
    assert errors[1] < errors[0] / 3.5
