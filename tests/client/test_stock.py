"""Stock schedules and resampling: ends, order, and the laws of interpolation."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ays_client.contract import Terminal
from ays_client.stock import STOCK, resample, stock, times_between, times_of_kind, whole_times

SIGMA_MIN, SIGMA_MAX = 0.02, 80.0


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("terminal", list(Terminal))
@given(steps=st.integers(2, 64))
def test_stock_levels_fall_from_sigma_max_to_the_terminal(name, terminal, steps):
    levels = stock(name, steps, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, terminal=terminal)
    assert len(levels) == steps + 1
    assert levels[0] == SIGMA_MAX
    assert all(upper > lower for upper, lower in pairwise(levels))
    assert levels[-1] == (0.0 if terminal is Terminal.ZERO else SIGMA_MIN)
    assert levels[-2 if terminal is Terminal.ZERO else -1] == SIGMA_MIN


def test_edm_is_the_formula_of_the_paper():
    levels = stock("edm", 5, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX)
    expected = [(SIGMA_MAX ** (1 / 7) + i / 4 * (SIGMA_MIN ** (1 / 7) - SIGMA_MAX ** (1 / 7))) ** 7 for i in range(5)]
    assert levels[:-1] == pytest.approx(expected, rel=1e-12)


def test_logsnr_has_even_log_steps():
    levels = stock("log_snr", 6, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, terminal=Terminal.SIGMA_MIN)
    steps = [math.log(upper / lower) for upper, lower in pairwise(levels)]
    assert steps == pytest.approx([math.log(SIGMA_MAX / SIGMA_MIN) / 6] * 6)


def test_an_empty_range_is_refused_with_what_was_received():
    with pytest.raises(ValueError, match=r"received steps=4, sigma_min=2.*expected"):
        stock("edm", 4, sigma_min=2, sigma_max=1)


@pytest.mark.parametrize("terminal", list(Terminal))
@given(steps=st.integers(2, 64), target=st.integers(2, 64))
def test_resampling_keeps_the_ends_and_the_order(terminal, steps, target):
    levels = stock("edm", max(steps, 3), sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, terminal=terminal)
    taken = resample(levels, target)
    assert len(taken) == target + 1
    assert (taken[0], taken[-1]) == (levels[0], levels[-1])
    assert all(upper > lower for upper, lower in pairwise(taken))


@pytest.mark.parametrize("terminal", list(Terminal))
def test_resampling_at_its_own_number_of_steps_is_the_identity(terminal):
    levels = stock("edm", 9, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, terminal=terminal)
    assert resample(levels, 9) == pytest.approx(levels, rel=1e-12)


def test_resampling_an_even_schedule_gives_the_even_schedule():
    levels = stock("log_snr", 7, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX)
    assert resample(levels, 20) == pytest.approx(stock("log_snr", 20, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX), rel=1e-12)


def test_resampling_needs_two_levels():
    with pytest.raises(ValueError, match="expected at least 2"):
        resample([1.0, 0.0], 4)


def test_times_of_kind():
    assert times_of_kind("ve", [2.0]) == [2.0]
    assert times_of_kind("edm", [2.0]) == [math.log(2.0) / 4]
    assert times_of_kind("flow", [1.0]) == [0.5]
    assert times_of_kind("vp", [1.0]) is None


def test_times_between_meets_what_is_known_and_is_linear_in_the_logarithm():
    known = [(math.exp(log), 10.0 * log + 3.0) for log in (2.0, 1.0, -1.0)]
    for sigma, time in known:
        assert times_between(known, [sigma]) == pytest.approx([time])
    assert times_between(known, [math.e**3, 1.0, math.e**-2]) == pytest.approx([33.0, 3.0, -17.0])


def test_whole_times_are_null_where_they_would_collide():
    assert whole_times([3.2, 1.9, 0.4]) == [3, 2, 0]
    assert whole_times([3.2, 2.9, 0.4]) is None
