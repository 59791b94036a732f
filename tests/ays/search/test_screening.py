"""Screening: the best survive, the default and a hand-made schedule always, near-duplicates never; few rollouts are spent on the rest."""

import numpy as np
import pytest

from worker.ays.noise import Array
from worker.ays.search.candidates import Candidate
from worker.ays.search.screening import FIRST_NOISES, SAME, screened


def candidate(name: str, middle: float, *, stock: bool = False, weights: Array | None = None) -> Candidate:
    return Candidate(name, np.array([20.0, 20.0 * middle, 0.4, 0.1, 0.0]), stock=stock, weights=weights)


class Rollouts:
    """Errors of named candidates on all noises, and how many were asked for."""

    def __init__(self, errors: dict[str, Array]) -> None:
        self.errors, self.spent = errors, 0

    def __call__(self, some, start: int, stop: int) -> Array:
        self.spent += len(some) * (stop - start)
        return np.stack([self.errors[each.name][start:stop] for each in some])


def problem(means: dict[str, float], noises: int = 32) -> Rollouts:
    common = np.random.default_rng(0).lognormal(0.0, 1.0, noises)
    return Rollouts({name: mean * common for name, mean in means.items()})


MIDDLES = {"default": 0.9, "a": 0.58, "b": 0.37, "c": 0.24, "d": 0.155, "e": 0.1, "edm": 0.064, "snr": 0.041}
MANY = [candidate(name, middle, stock=name in ("edm", "snr")) for name, middle in MIDDLES.items()]


def test_the_best_come_first_with_the_default_and_the_best_hand_made_one() -> None:
    rollout = problem({"default": 9.0, "a": 3.0, "b": 2.0, "c": 1.0, "d": 4.0, "e": 5.0, "edm": 8.0, "snr": 7.0})
    ranked, default = screened(MANY, rollout, 32, 2)
    assert [each.name for each in ranked] == ["c", "b", "default", "snr"]
    assert ranked[default].name == "default"


@pytest.mark.parametrize("noises", [1, 3, 4, 5, 16, 32])
def test_each_round_halves_the_candidates_and_doubles_the_noises(noises: int) -> None:
    rollout = problem({name: 1.0 + i for i, name in enumerate(MIDDLES)}, noises)
    ranked, default = screened(MANY, rollout, noises, 2)
    assert default == 0
    assert ranked[1].name == "a"
    whole = len(MANY) * noises
    assert rollout.spent <= whole
    if noises == 32:
        assert rollout.spent <= len(MANY) * FIRST_NOISES + 6 * FIRST_NOISES + 4 * 24 < 0.7 * whole


def test_of_two_that_are_nearly_the_same_the_better_one_is_kept() -> None:
    near = candidate("near", 1.05 * MIDDLES["a"])
    far = candidate("far", MIDDLES["b"])
    rollout = problem({"default": 5.0, "a": 2.0, "near": 1.0, "far": 3.0})
    ranked, _ = screened([MANY[0], MANY[1], near, far], rollout, 16, 3)
    names = [each.name for each in ranked]
    assert "near" in names
    assert "far" in names
    assert "a" not in names
    assert np.log(1.05) < SAME * np.log(20 / 0.1) / 3


def test_fitted_schedules_on_the_same_levels_are_different_where_their_weights_have_different_sources() -> None:
    weights = np.tile([1.0, 0, 0, 0], (4, 1))
    pair = [candidate("fitted", 0.5, weights=weights), candidate("fitted (unipc)", 0.5, weights=weights)]
    ranked, _ = screened(pair, problem({"fitted": 2.0, "fitted (unipc)": 1.0}), 8, 4)
    assert [each.name for each in ranked] == ["fitted (unipc)", "fitted"]


def test_one_noise_of_many_in_another_mode_does_not_decide() -> None:
    noises = 2048
    rollout = problem({"default": 9.0, "a": 1.0, "b": 8.0}, noises)
    rollout.errors["a"] = rollout.errors["a"] + np.eye(1, noises, noises - 1)[0] * 20_000 * np.median(rollout.errors["b"])
    assert rollout.errors["a"].mean() > rollout.errors["b"].mean()
    ranked, _ = screened(MANY[:3], rollout, noises, 2)
    assert ranked[0].name == "a"
