"""Parts of a schedule, from a level on and through a level."""

import pytest

from ays_client.starts import Levels, from_level, through_level

WHOLE = Levels([8.0, 4.0, 2.0, 1.0, 0.0], [40.0, 30.0, 20.0, 10.0])


@pytest.mark.parametrize(
    ("sigma", "sigmas"),
    [
        (3.0, [3.0, 2.0, 1.0, 0.0]),
        (2.0, [2.0, 1.0, 0.0]),
        (2.1, [2.1, 1.0, 0.0]),  # Seven hundredths of the step are left, in the logarithm.
        (2.2, [2.2, 2.0, 1.0, 0.0]),
        (0.01, [0.01, 0.0]),
        (9.0, [9.0, 8.0, 4.0, 2.0, 1.0, 0.0]),
    ],
)
def test_a_part_starts_at_its_level(sigma, sigmas):
    part = from_level(WHOLE, sigma, 5.0)
    assert part.sigmas == sigmas
    assert part.times == [5.0, *WHOLE.times[len(WHOLE.times) - len(sigmas) + 2 :]]


def test_a_part_below_the_end_and_a_split_before_the_start_cannot_be():
    with pytest.raises(ValueError, match=r"it ends at the level 0\.5, and would have to start at 0\.4"):
        from_level(Levels([2.0, 0.5], [20.0]), 0.4, 5.0)
    with pytest.raises(ValueError, match="it has no step before the level 9"):
        through_level(WHOLE, 9.0, 45.0, 50.0)


def test_a_schedule_through_a_level_has_none_between_it_and_the_cutoff():
    assert through_level(WHOLE, 1.5, 15.0, 25.0) == Levels([8.0, 4.0, 1.5, 1.0, 0.0], [40.0, 30.0, 15.0, 10.0])
