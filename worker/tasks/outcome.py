"""What a job produces."""

from dataclasses import dataclass

from ays_client.contract import ProfileInfo, Schedule
from ays_client.samples import SampleGrid


@dataclass(frozen=True)
class Outcome:
    """Results of a job.

    Attributes:
        profile: the profile, if it was newly measured and has not been published.
        schedules: all schedules to store, what has been published left out.
        requested: the one that was asked for.
        samples: what it does to samples, for models of images.
    """

    profile: ProfileInfo | None
    schedules: list[Schedule]
    requested: Schedule
    samples: SampleGrid | None
