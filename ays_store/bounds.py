"""Bounds of the queue, and when there will be room again."""

import math
from dataclasses import dataclass

from ays_store.limits import RUN_SECONDS, WAIT_SECONDS_MAX, WAIT_SECONDS_MIN


@dataclass(frozen=True)
class Bounds:
    """How many jobs may wait; 0: any number.

    Attributes:
        waiting: of all owners together.
        of_owner: of the one who asks.
    """

    waiting: int = 0
    of_owner: int = 0


UNBOUNDED = Bounds()
"""Takes everything."""


class QueueFull(Exception):
    """The queue takes no more jobs for now, at all or of this owner.

    Args:
        of_owner: whether it is the owner who has too many in it.
        waiting: jobs that wait, of the owner if it is that.
        wait_seconds: time after which a place is expected, whole seconds.
    """

    def __init__(self, *, of_owner: bool, waiting: int, wait_seconds: int) -> None:
        super().__init__(f"{waiting} jobs wait{' for this owner' if of_owner else ''}; a place is expected in {wait_seconds} s")
        self.of_owner = of_owner
        self.waiting = waiting
        self.wait_seconds = wait_seconds


def wait_seconds(*, starts: float, workers: int, runs: int, run_seconds: float) -> int:
    """Time in which some jobs are expected to start.

    Args:
        starts: their number.
        workers: live workers; without any, nobody knows.
        runs: attempts that have ended so far.
        run_seconds: the time of all of them.

    Returns:
        Whole seconds, within the bounds of `limits`.
    """
    if workers == 0:
        return WAIT_SECONDS_MAX
    mean = run_seconds / runs if runs else RUN_SECONDS
    return min(max(math.ceil(starts * mean / workers), WAIT_SECONDS_MIN), WAIT_SECONDS_MAX)
