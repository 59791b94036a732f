"""Schedules for any range are those of diffusers, or of the formula where diffusers has none."""

import math

import numpy as np
import pytest
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from scipy.stats import beta as beta_law

from worker.ays.noise import EDM, VP, Flow, scaled_linear_betas
from worker.ays.ramps import Span, beta, beta_sigmas, bong_tangent, edm, exponential, karras, kl_optimal, log_snr, time_uniform

SD = VP(scaled_linear_betas())
SD_CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SD_SPAN = Span(sigma_max=SD.sigma_max, sigma_min=SD.sigma_min, terminal="zero")
FLOW = Flow(shift=3.0, sigma_max=300.0, sigma_min=0.002)
FLOW_SPAN = Span(sigma_max=FLOW.sigma_max, sigma_min=FLOW.sigma_min, terminal="zero")
COUNTS = pytest.mark.parametrize("steps", [2, 5, 10, 20])

quiet_diffusers = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


def test_each_ramp_is_linear_in_its_own_coordinate() -> None:
    span = Span(sigma_max=80.0, sigma_min=0.002, terminal="sigma_min")
    assert np.diff(edm(9, **span) ** (1 / 7), n=2) == pytest.approx(0, abs=1e-12)
    assert np.diff(np.log(log_snr(9, **span)), n=2) == pytest.approx(0, abs=1e-12)
    assert np.diff(np.arctan(kl_optimal(9, **span, process=EDM())), n=2) == pytest.approx(0, abs=1e-12)
    for rule, coordinate in (
        (time_uniform, lambda t: t),
        (karras, lambda t: t ** (1 / 7)),
        (exponential, np.log),
        (kl_optimal, np.arctan),
    ):
        times = Flow().time(rule(9, sigma_max=99.0, sigma_min=0.01, terminal="sigma_min", process=Flow()))
        assert np.diff(coordinate(times), n=2) == pytest.approx(0, abs=1e-12)


@quiet_diffusers
@COUNTS
@pytest.mark.parametrize(
    ("option", "rule"), [("use_karras_sigmas", edm), ("use_exponential_sigmas", log_snr), ("use_beta_sigmas", beta_sigmas)]
)
def test_on_sigmas_they_are_those_of_diffusers(option: str, rule, steps: int) -> None:
    theirs = EulerDiscreteScheduler(**SD_CONFIG, **{option: True})
    theirs.set_timesteps(steps)
    process = {"process": SD} if rule is beta_sigmas else {}
    assert rule(steps, **SD_SPAN, **process) == pytest.approx(theirs.sigmas.numpy(), rel=1e-4)


@COUNTS
@pytest.mark.parametrize(
    ("option", "rule"), [("use_karras_sigmas", karras), ("use_exponential_sigmas", exponential), ("use_beta_sigmas", beta_sigmas)]
)
def test_on_flow_times_they_are_those_of_diffusers(option: str, rule, steps: int) -> None:
    theirs = FlowMatchEulerDiscreteScheduler(**{option: True})
    theirs.set_timesteps(sigmas=FLOW.time(np.geomspace(FLOW.sigma_max, FLOW.sigma_min, steps)))
    assert FLOW.time(rule(steps, **FLOW_SPAN, process=FLOW)) == pytest.approx(theirs.sigmas.numpy(), abs=1e-6)


@COUNTS
@pytest.mark.parametrize("shapes", [(0.6, 0.6), (0.5, 0.7)])
def test_beta_is_comfyuis_but_for_its_rounding(shapes: tuple[float, float], steps: int) -> None:
    quantiles = beta_law.ppf(1 - np.linspace(0, 1, steps, endpoint=False), *shapes)
    received = SD.time(beta(steps, **SD_SPAN, process=SD, shapes=shapes)[:-1])
    assert received == pytest.approx(np.rint(quantiles * 999), abs=0.5 + 1e-9)
    whole = Flow(shift=3.0)
    span = Span(sigma_max=whole.sigma_max, sigma_min=whole.sigma_min, terminal="zero")
    u = np.rint(quantiles * 999 + 1) / 1000
    assert whole.time(beta(steps, **span, process=whole, shapes=shapes)[:-1]) == pytest.approx(3 * u / (1 + 2 * u), abs=0.004)
    continuous = beta(steps, sigma_max=80.0, sigma_min=0.002, terminal="zero", process=EDM(), shapes=shapes)[:-1]
    assert np.log(continuous) == pytest.approx(math.log(0.002) + quantiles * math.log(80.0 / 0.002), abs=1e-9)


def tangents(steps: int, start: float, middle: float, end: float) -> list[float]:
    """RES4LYF's `bong_tangent`, one level after another: two arctangents with pivots 0.6 and slopes 0.2."""
    n, found = steps + 2, []
    first, pivot = int((n * 0.6 + n * 0.6) / 2), int(n * 0.6)
    for length, center, high, low in ((first, pivot, start, middle), (n - first, pivot - first, middle, end)):
        curve = [(2 / math.pi * math.atan(-0.2 / (n / 40) * (x - center)) + 1) / 2 for x in range(length)]
        found.append([(value - curve[-1]) / (curve[0] - curve[-1]) * (high - low) + low for value in curve])
    return found[0][:-1] + found[1]


@COUNTS
def test_bong_tangent_is_the_printed_formula(steps: int) -> None:
    top = SD.sigma_max
    assert bong_tangent(steps, **SD_SPAN, process=SD) == pytest.approx(tangents(steps, top, top / 2, 0.0), rel=1e-9, abs=1e-12)
    high, low = FLOW.time([FLOW.sigma_max, FLOW.sigma_min])
    received = FLOW.time(bong_tangent(steps, sigma_max=300.0, sigma_min=0.002, terminal="sigma_min", process=FLOW))
    assert received == pytest.approx(tangents(steps, high, (high + low) / 2, low), rel=1e-9)


def test_ramps_keep_a_range_that_is_not_the_whole_one() -> None:
    for terminal in ("zero", "sigma_min"):
        span = Span(sigma_max=10.0, sigma_min=0.05, terminal=terminal)
        for rule in (time_uniform, kl_optimal, beta, beta_sigmas, bong_tangent):
            for process in (SD, FLOW, EDM()):
                levels = rule(6, **span, process=process)
                assert levels[0] == 10.0
                assert levels[-2] >= 0.05 * (1 - 1e-9)
                assert levels[-1] == pytest.approx(0.0 if terminal == "zero" else 0.05, rel=1e-9)
