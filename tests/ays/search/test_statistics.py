"""Statistics of heavy-tailed errors: intervals that cover, acceptance that the bulk may veto."""

import math

import numpy as np
import pytest

from worker.ays.search.statistics import (
    BULK,
    SURE,
    TAIL,
    accepted,
    estimate,
    mean_interval,
    ratio_interval,
    robust_loss,
    tail_scale,
    z_score,
)

RNG = np.random.default_rng(7)
INCUMBENT = np.append(np.linspace(1.0, 2.0, 59), 1000.0)


def test_estimates_are_means_with_their_standard_errors() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 10000)
    received = estimate(values)
    assert abs(received.mean - 3.0) < 4 * received.standard_error
    assert received.standard_error == pytest.approx(2.0 / 100, rel=0.05)
    assert estimate(np.array([1.5])).standard_error == math.inf


def test_the_interval_of_a_mean_covers_heavy_tailed_errors() -> None:
    """Lognormal of sigma 1.5, where the mean is three times the median: 256 noises, 200 draws; the plain one misses twice as often."""
    rng, true = np.random.default_rng(1), math.exp(1.5**2 / 2)
    hits = plain = 0
    for _ in range(200):
        errors = rng.lognormal(0.0, 1.5, 256)
        low, high = mean_interval(errors)
        assert 0 < low < errors.mean() < high
        hits += low <= true <= high
        mean = estimate(errors)
        plain += abs(mean.mean - true) <= 1.96 * mean.standard_error
    assert hits >= 180
    assert hits >= plain


def test_the_interval_of_a_ratio_covers_and_is_narrow_where_errors_go_together() -> None:
    rng, hits, widths = np.random.default_rng(2), 0, []
    for _ in range(100):
        common = rng.lognormal(0.0, 1.5, 128)
        ours, others = 0.7 * common * rng.lognormal(-0.02, 0.2, 128), common
        low, high = ratio_interval(ours, others)
        hits += low <= 0.7 <= high
        widths.append(high / low)
    assert hits >= 88
    assert np.median(widths) < 1.3
    low, high = ratio_interval(ours, rng.permutation(others))
    assert high / low > 1.5  # the same numbers, not in pairs


def test_intervals_scale_with_the_errors_and_close_where_nothing_varies() -> None:
    errors = RNG.lognormal(0.0, 1.0, 64)
    assert mean_interval(1e-9 * errors) == pytest.approx(1e-9 * np.array(mean_interval(errors)), rel=1e-9)
    assert ratio_interval(3.0 * errors, errors) == pytest.approx((3.0, 3.0))
    assert mean_interval(np.full(8, 2.0)) == pytest.approx((2.0, 2.0))
    assert mean_interval(np.zeros(8)) == (0.0, 0.0)


def test_the_robust_loss_is_the_error_itself_below_its_scale_and_a_logarithm_above() -> None:
    errors = np.array([0.0, 1e-3, 1.0, 100.0])
    assert robust_loss(errors, 1e9) == pytest.approx(errors, rel=1e-6)
    assert robust_loss(errors, 1.0) == pytest.approx(np.log1p(errors))
    assert tail_scale(INCUMBENT) == pytest.approx(TAIL * 1.5, rel=0.01)
    assert tail_scale(np.zeros(4)) > 0


def test_the_scale_of_the_loss_lets_a_mean_that_is_about_the_tail_be_seen_but_not_ruled_by_it() -> None:
    """The bulk loses a twentieth and one noise in ten, twenty medians off, is cured: that is a gain. One noise, far off, is no reason."""
    rng = np.random.default_rng(4)
    errors = rng.uniform(0.9, 1.1, 200)
    tail = np.where(np.arange(200) % 10 == 0, 20.0, errors)
    cured = np.where(np.arange(200) % 10 == 0, 1.0, 1.05 * errors)
    lucky = np.append(1.05 * errors[:-1], 0.0)
    unlucky = np.append(errors[:-1], 1e4)
    loss = lambda values, incumbent: robust_loss(values, tail_scale(incumbent)).mean()  # noqa: E731
    assert loss(cured, tail) < 0.6 * loss(tail, tail)
    assert unlucky.mean() > 40 * lucky.mean()
    assert loss(lucky, unlucky) / loss(unlucky, unlucky) > 5 * lucky.mean() / unlucky.mean()
    wide = 1e6 * np.median(unlucky)
    assert robust_loss(lucky, wide).mean() < 0.1 * robust_loss(unlucky, wide).mean()


def test_a_smaller_error_on_every_noise_is_accepted_and_a_larger_one_is_not() -> None:
    assert accepted(0.9 * INCUMBENT, INCUMBENT)
    assert not accepted(1.1 * INCUMBENT, INCUMBENT)
    assert not accepted(INCUMBENT, INCUMBENT)


def test_a_rival_must_be_better_by_its_standard_error() -> None:
    errors = np.full(64, 1.0)
    doubtful = errors + np.where(np.arange(64) % 2, 0.1, -0.11)  # -0.005, 0.4 standard errors
    assert accepted(doubtful, errors)
    assert not accepted(doubtful, errors, by=1.0)
    assert accepted(errors + np.where(np.arange(64) % 2, 0.1, -0.2), errors, by=1.0)


def test_the_bulk_vetoes_what_the_tail_alone_gains() -> None:
    """All but three noises lose a tenth, three come back from another mode: a smaller mean, not significantly; the bulk is surely worse."""
    incumbent = np.concatenate([np.linspace(0.9, 1.1, 61), [80.0, 90.0, 2.0]])
    tail = np.concatenate([1.1 * incumbent[:61], [2.0, 300.0, 2.0]])
    tail[62] = 60.0
    clip = BULK * np.median(incumbent)
    scale = tail_scale(incumbent)
    assert z_score(robust_loss(tail, scale), robust_loss(incumbent, scale)) < 0
    assert z_score(np.minimum(tail, clip), np.minimum(incumbent, clip)) > SURE
    assert z_score(tail, incumbent) > -SURE
    assert not accepted(tail, incumbent)
    # Where most of a heavy tail is cured, the mean is surely smaller, and the veto is overruled.
    many = np.concatenate([np.linspace(0.9, 1.1, 40), np.full(24, 20.0)])
    cured = np.concatenate([1.1 * many[:40], np.full(24, 4.0)])
    assert accepted(cured, many)


def test_the_z_score_of_a_paired_difference_is_its_mean_in_standard_errors() -> None:
    errors, others = RNG.lognormal(size=50), RNG.lognormal(size=50)
    change = errors - others
    assert z_score(errors, others) == pytest.approx(change.mean() / (change.std(ddof=1) / math.sqrt(50)))
    assert z_score(errors, errors) == 0
    assert z_score(errors - 1, errors) < -1e6
