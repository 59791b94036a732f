"""What a job produces."""

from dataclasses import dataclass

from ays_client.contract import ProfileInfo, Schedule


@dataclass(frozen=True)
class Outcome:
    """Results of a job.

    Attributes:
        profile: the profile, if it was newly measured.
        schedules: all schedules to store: the whole table with the requested cell in it.
        requested: the one that was asked for.
    """

    profile: ProfileInfo | None
    schedules: list[Schedule]
    requested: Schedule
