"""The judge: sure of what all noises say, of what their bulk says, and of nothing that one of them says alone."""

import numpy as np
import pytest

from worker.ays.judge import Errors, gain, preferred, surely_better, telling
from worker.ays.noise import Array
from worker.ays.solvers import SOLVERS

ODE, SDE = SOLVERS["ddim"], SOLVERS["sddim"]
BEST = np.append(np.linspace(1.0, 2.0, 59), 1000.0)
LESS = BEST * np.append(np.full(59, 0.9), 1.0)
BULK = pytest.approx(0.1 * 88.5 / (88.5 + 4.5), rel=0.01)  # clipped at three medians


def flip(by: float, back: float = 0.0) -> Array:
    """Changes of two noises that end in another mode, or come back from there."""
    return np.append(np.zeros(58), [by, back])


def gains(solver, errors: Array, best: Array, start: Array) -> float | None:
    return gain(solver, Errors(errors), Errors(best), Errors(start))


def test_the_bulk_of_the_noises_decides_where_their_tail_hides_what_they_gain() -> None:
    """All but one gain a tenth; the last, hundreds of times as far off, scatters more than all of them gain."""
    worse = LESS + flip(0.0, 2.0)
    assert gains(ODE, LESS, BEST, BEST) == gains(ODE, worse, BEST, BEST) == BULK
    assert gains(SDE, LESS, BEST, BEST) == pytest.approx(8.85 / 1088.5)
    scattered = LESS + flip(0.0, 8.0)
    assert gains(ODE, scattered, BEST, BEST) == BULK
    assert gains(SDE, scattered, BEST, BEST) is None
    assert gains(ODE, BEST, BEST, BEST) is None
    assert gains(SDE, 0.5 * BEST[:19], BEST[:19], BEST[:19]) == pytest.approx(0.5)
    assert gains(ODE, np.zeros(20), np.zeros(20), np.zeros(20)) is None


def test_one_noise_more_in_another_mode_is_enough_for_a_doubt() -> None:
    """Alone it is one standard error of the paired difference, or just less, whatever the others gain."""
    assert gains(ODE, LESS + flip(500.0), BEST, BEST) is None
    assert gains(ODE, LESS + flip(0.0, 8.0), BEST, LESS + flip(0.0, 7.0)) is None  # surely larger than at the start
    assert gains(ODE, LESS, BEST, BEST + flip(500.0)) == BULK
    assert gains(ODE, LESS + flip(500.0, -999.0), BEST, BEST) is not None  # one comes, one goes


def test_the_tail_is_counted_on_the_noises_of_the_search_too() -> None:
    """The judge has one noise more in another mode; the search has two less."""
    kept, cured = np.full(60, 1.0) + flip(500.0, 500.0), np.full(60, 1.0)
    before, flipped = Errors(BEST, kept), LESS + flip(500.0)
    assert gain(ODE, Errors(flipped, cured), before, before) is not None
    assert gain(ODE, Errors(flipped, kept), before, before) is None
    # What the search gained on its own noises makes nobody sure: it was fitted to them.
    assert gain(ODE, Errors(BEST, 0 * kept), before, before) is None


def test_the_largest_gain_is_preferred_and_where_none_is_sure_the_least_mean() -> None:
    start = Errors(BEST)
    assert preferred(ODE, [start, Errors(LESS), Errors(0.5 * BEST)], start, start) == (2, pytest.approx(0.5))
    doubtful = [Errors(BEST + flip(20.0, -by)) for by in (10.0, 30.0)]
    assert preferred(SDE, doubtful, start, start) == (1, None)


def test_half_a_standard_error_convinces_of_an_sde_alone() -> None:
    wide = np.where(np.arange(40) % 2, -1.0, 0.8)  # 0.7 standard errors
    assert surely_better(SDE, wide, np.zeros(40))
    assert not surely_better(ODE, wide, np.zeros(40))
    assert not surely_better(SDE, wide + 0.05, np.zeros(40))  # 0.35 of them


def test_few_noises_must_be_twice_as_sure_and_say_nothing_where_they_scatter() -> None:
    others = np.zeros(19)
    change = np.append(np.full(18, -0.1), 1.4)  # mean -0.021, standard error 0.08
    assert not surely_better(ODE, others + change, others)
    wide = np.where(np.arange(40) % 2, -1.0, 0.65)  # 1.3 standard errors
    assert surely_better(ODE, wide, np.zeros(40))
    assert not surely_better(ODE, wide[:18], np.zeros(18))
    assert not surely_better(SDE, wide[:18], np.zeros(18))
    assert telling(np.append(np.ones(18), [1000.0, 1.0]))
    assert not telling(np.append(np.ones(17), 1000.0))
    assert telling(np.linspace(1.0, 1.2, 8))
