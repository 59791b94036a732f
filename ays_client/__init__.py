"""Client of the schedule service: httpx2 and pydantic only."""

from ays_client.client import Client
from ays_client.contract import JobRequest, Schedule, Solver, Terminal
from ays_client.errors import BadRequest, JobFailed, NotFound, ServiceError, Unavailable

__all__ = [
    "BadRequest",
    "Client",
    "JobFailed",
    "JobRequest",
    "NotFound",
    "Schedule",
    "ServiceError",
    "Solver",
    "Terminal",
    "Unavailable",
]
