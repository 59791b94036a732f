"""Client of the schedule service: httpx2 and pydantic only; diffusers is imported where a pipeline is given."""

from ays_client.client import Client
from ays_client.contract import JobRequest, Schedule, Solver, Terminal
from ays_client.errors import AccessDenied, BadRequest, JobFailed, NotFound, ScheduleRefused, ServiceError, Unavailable
from ays_client.fitted import sample_fitted
from ays_client.pipelines import applied, apply_schedule, restore
from ays_client.scheduler_rules import solver_of
from ays_client.schedules import Schedules

__all__ = [
    "AccessDenied",
    "BadRequest",
    "Client",
    "JobFailed",
    "JobRequest",
    "NotFound",
    "Schedule",
    "ScheduleRefused",
    "Schedules",
    "ServiceError",
    "Solver",
    "Terminal",
    "Unavailable",
    "applied",
    "apply_schedule",
    "restore",
    "sample_fitted",
    "solver_of",
]
