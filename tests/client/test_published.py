"""The published tables: the paper's numbers, both readings of their end, and NVIDIA's interpolation to other step counts."""

import math
from itertools import pairwise

import pytest

from ays_client.contract import Terminal
from ays_client.published import PUBLISHED

# Printed in the paper.
PRINTED = {
    "stable-diffusion-1.5": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "stable-diffusion-xl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "deepfloyd-if": (160.41, 8.081, 3.315, 1.885, 1.207, 0.785, 0.553, 0.293, 0.186, 0.030, 0.006),
    "stable-video-diffusion": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}


def recipe(levels, steps):
    """NVIDIA's how-to: even in the index, linear in the logarithm; written with a plain loop."""
    logs = [math.log(level) for level in levels]
    found = []
    for step in range(steps + 1):
        left, share = divmod(step * (len(levels) - 1) / steps, 1)
        left = int(left)
        right = min(left + 1, len(levels) - 1)
        found.append(math.exp(logs[left] + share * (logs[right] - logs[left])))
    return found


def test_there_are_the_four_that_were_published():
    assert set(PUBLISHED) == set(PRINTED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_levels_are_those_that_the_paper_prints_rounded(name):
    assert PUBLISHED[name].schedule(10, Terminal.SIGMA_MIN) == pytest.approx(PRINTED[name], rel=0.015, abs=0.0005)


@pytest.mark.parametrize("name", [name for name, table in PUBLISHED.items() if table.timesteps])
def test_the_published_timesteps_come_back_exactly(name):
    table = PUBLISHED[name]
    assert table.times(table.levels) == list(table.timesteps)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("steps", [2, 5, 10, 20, 64])
def test_both_readings_share_all_levels_but_the_last(name, steps):
    table = PUBLISHED[name]
    stops, ends = table.schedule(steps, Terminal.SIGMA_MIN), table.schedule(steps, Terminal.ZERO)
    assert len(stops) == len(ends) == steps + 1
    assert stops[:-1] == ends[:-1]
    assert (stops[-1], ends[-1]) == (table.levels[-1], 0.0)
    assert all(upper > lower for upper, lower in pairwise(ends))
    assert stops == pytest.approx(recipe(table.levels, steps), rel=1e-12)


def test_a_continuous_model_has_the_time_of_edm():
    table = PUBLISHED["stable-video-diffusion"]
    assert table.times([700.0, 1.0]) == [math.log(700.0) / 4, 0.0]
