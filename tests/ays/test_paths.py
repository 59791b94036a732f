"""Randomness: addressed by seed, stream and index; Brownian and forward paths have the law they claim."""

import math

import numpy as np
import pytest
import torch

from tests.ays.problems import line, plane, spectrum
from worker.ays.analytic import AnisotropicGaussian, GaussianMixture
from worker.ays.paths import Stream, brownian, data_generator, forward_paths, starting_noise
from worker.ays.profile.profile import log_grid

LEVELS = np.array([4.0, 2.0, 1.0, 0.5, 0.25])


def test_a_sample_depends_on_seed_stream_and_index_alone() -> None:
    whole = starting_noise((3,), range(6), seed=1, stream=Stream.VALIDATION)
    torch.testing.assert_close(starting_noise((3,), [4, 2], seed=1, stream=Stream.VALIDATION), whole[[4, 2]], rtol=0, atol=0)
    for other in (
        starting_noise((3,), range(6), seed=2, stream=Stream.VALIDATION),
        starting_noise((3,), range(6), seed=1, stream=Stream.TRAINING),
        starting_noise((3,), range(6, 12), seed=1, stream=Stream.VALIDATION),
    ):
        assert not torch.isclose(other, whole).any()


def test_all_kinds_of_paths_are_addressed_by_index() -> None:
    two = [5, 3]
    whole = brownian(LEVELS, (2,), range(6), seed=0, stream=Stream.FRESH).w
    assert torch.equal(brownian(LEVELS, (2,), two, seed=0, stream=Stream.FRESH).w, whole[:, two])
    x_0 = starting_noise((2,), range(6), seed=0, stream=Stream.FRESH)
    whole = forward_paths(x_0, LEVELS, range(6), seed=0, stream=Stream.FRESH)
    assert torch.equal(forward_paths(x_0[two], LEVELS, two, seed=0, stream=Stream.FRESH), whole[:, two])
    draws = [torch.rand(4, generator=data_generator(i, seed=0, stream=Stream.FRESH)) for i in (0, 1, 0)]
    assert torch.equal(draws[0], draws[2])
    assert not torch.isclose(draws[0], draws[1]).any()


def test_starting_noise_and_paths_of_one_sample_are_independent() -> None:
    noise = starting_noise((1,), range(4000), seed=0, stream=Stream.FRESH)[:, 0]
    path = brownian(LEVELS, (1,), range(4000), seed=0, stream=Stream.FRESH).w[-1, :, 0]
    assert abs(float(torch.corrcoef(torch.stack([noise, path]))[0, 1])) < 4 / math.sqrt(4000)


def test_coarse_increments_are_sums_of_fine_ones() -> None:
    path = brownian(log_grid(4.0, 0.25, 33), (2,), range(3), seed=0, stream=Stream.FRESH)
    coarse = path.at(torch.from_numpy(log_grid(4.0, 0.25, 5))[:, None])  # [5, 3, 2]
    fine = path.w.diff(dim=0).reshape(4, 8, 3, 2).sum(1)
    torch.testing.assert_close(coarse.diff(dim=0), fine, rtol=1e-9, atol=1e-12)


def test_increments_between_grid_points_have_the_variance_of_their_length_and_are_independent() -> None:
    """Linear interpolation would give a piece of a cell only that part of its variance that the piece is of the cell."""
    n, cut = 4000, np.array([0.15, 0.3, 0.8])
    path = brownian(LEVELS, (1,), range(n), seed=0, stream=Stream.FRESH)
    inside = path.u[:-1] + cut[[0, 1, 2, 1]] * np.diff(path.u)
    u = np.sort(np.concatenate([path.u, inside]))
    increments = path.at(torch.from_numpy(u**-0.5)[:, None])[..., 0].diff(dim=0)
    scaled = increments / torch.from_numpy(np.sqrt(np.diff(u)))[:, None]
    assert (scaled.square().mean(1) - 1).abs().max() < 4 * math.sqrt(2 / n)
    assert (torch.corrcoef(scaled) - torch.eye(len(scaled))).abs().max() < 4 / math.sqrt(n)


def test_a_step_from_one_cell_into_another_has_its_own_variance() -> None:
    n = 4000
    path = brownian(LEVELS, (1,), range(n), seed=0, stream=Stream.FRESH)
    u = np.array([0.5 * (path.u[0] + path.u[1]), 0.5 * (path.u[2] + path.u[3])])
    increment = path.at(torch.from_numpy(u**-0.5)[:, None])[..., 0].diff(dim=0)[0]
    assert abs(float(increment.square().mean()) / (u[1] - u[0]) - 1) < 4 * math.sqrt(2 / n)


def test_a_sample_has_the_same_values_in_any_part_and_in_any_order_of_questions() -> None:
    asked = torch.tensor([[3.1], [1.7], [0.9], [0.26]], dtype=torch.float64)
    drawn = {"seed": 3, "stream": Stream.VALIDATION}
    whole = brownian(LEVELS, (2,), range(4, 10), **drawn)
    values = whole.at(asked)
    assert torch.equal(whole.at(asked.flip(0)), values.flip(0))
    fresh = brownian(LEVELS, (2,), range(4, 10), **drawn)
    assert torch.equal(fresh.part(2, 4).at(asked[2:]), values[2:, 2:4])
    assert torch.equal(fresh.part(0, 2).joined(fresh.part(4, 6)).at(asked), values[:, [0, 1, 4, 5]])
    assert torch.equal(whole.part(1, 3).at(asked), values[:, 1:3])
    assert torch.equal(brownian(LEVELS, (2,), [7], **drawn).at(asked)[:, 0], values[:, 3])


def test_no_two_streams_share_a_noise_or_a_path() -> None:
    asked = torch.tensor([[1.7]], dtype=torch.float64)
    noises = [starting_noise((3,), range(4), seed=0, stream=stream) for stream in Stream]
    paths = [brownian(LEVELS, (3,), range(4), seed=0, stream=stream) for stream in Stream]
    drawn = torch.stack([*noises, *(path.w[1] for path in paths), *(path.at(asked)[0] for path in paths)]).flatten()
    assert len(Stream) == len(set(Stream)) >= 7
    assert len(drawn.unique()) == len(drawn)


def test_brownian_increments_have_the_variance_of_their_length_and_are_independent() -> None:
    n = 4000
    increments = brownian(LEVELS, (1,), range(n), seed=0, stream=Stream.FRESH).w[..., 0].diff(dim=0)
    length = np.diff(LEVELS**-2)
    scaled = increments / torch.from_numpy(np.sqrt(length))[:, None]
    assert (scaled.square().mean(1) - 1).abs().max() < 4 * math.sqrt(2 / n)
    correlation = torch.corrcoef(scaled) - torch.eye(len(length))
    assert correlation.abs().max() < 4 / math.sqrt(n)


def test_forward_paths_have_the_joint_law_of_all_levels() -> None:
    n = 4000
    noise = forward_paths(torch.zeros(n, 1, dtype=torch.float64), LEVELS, range(n), seed=0, stream=Stream.PROFILE)[..., 0]
    expected = torch.from_numpy(np.minimum(LEVELS[:, None], LEVELS[None, :]) ** 2)
    products = noise[:, None] * noise[None, :]
    error = products.std(2) / math.sqrt(n)
    assert ((products.mean(2) - expected).abs() < 4 * error).all()


LAWS = {"spectrum": spectrum(), "line": line(), "plane": plane()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_denoisers_are_martingales_along_forward_paths(law: AnisotropicGaussian | GaussianMixture) -> None:
    """`E ||D_a - D_b||^2 = mmse(b) - mmse(a)` for every pair of levels, within 4 standard errors."""
    n = 3000
    x_0 = law.sample_data(n, torch.Generator().manual_seed(0))
    states = forward_paths(x_0, LEVELS, range(n), seed=0, stream=Stream.PROFILE)
    estimates = [law.denoise(x, torch.full((n,), level, dtype=torch.float64)) for x, level in zip(states, LEVELS, strict=True)]
    for b in range(len(LEVELS)):
        for a in range(b + 1, len(LEVELS)):
            gaps = (estimates[a] - estimates[b]).square().sum(1)
            expected = law.mmse(LEVELS[b]) - law.mmse(LEVELS[a])
            assert abs(gaps.mean().item() - expected) < 4 * gaps.std().item() / math.sqrt(n)
