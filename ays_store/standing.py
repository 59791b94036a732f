"""What somebody who holds something for a while is told when it asks."""

from enum import IntEnum


class Standing(IntEnum):
    """The answer to a report or a renewal."""

    STALE = 0
    """It belongs to another, or to nobody: stop and write nothing."""
    HELD = 1
    """Go on."""
    CANCEL = 2
    """Somebody asked for the job to stop."""
