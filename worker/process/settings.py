"""Configuration of a worker, from environment variables that start with `AYS_`."""

import os
import secrets
import socket
from pathlib import Path

from pydantic import Field, FilePath

from ays_process.environment import ProcessSettings, read_environment
from ays_store.limits import LEASE_SECONDS
from ays_store.queue import JOB_SECONDS
from worker.models.limits import LARGEST_MODEL

QUIET = ("rq.worker", "rq.job", "rq.queue")
"""Loggers that are kept to warnings: RQ's jobs are ours, told by us."""


class Settings(ProcessSettings):
    """Everything that can be configured; each field is the environment variable `AYS_<NAME>`."""

    models: FilePath | None = Field(None, description="models file (TOML) that adds to the built-in models")
    allow_hub: bool = Field(False, description="whether models that the models file names on the Hugging Face hub may be downloaded")
    model_max_bytes: int = Field(
        LARGEST_MODEL, ge=1, description="weights of a network, encoder or autoencoder may not be larger than this"
    )
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="CPU threads of torch")
    warm_models: int = Field(2, ge=1, le=64, description="models kept in memory between jobs")
    worker_name: str = Field(
        default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9._-]{1,100}$", description="beginning of this worker's name"
    )
    job_seconds: int = Field(JOB_SECONDS, ge=1, le=30 * 86_400, description="a job that runs longer is failed")
    drain_seconds: float = Field(20.0, gt=0, description="after SIGTERM, a job that has not come to a stop in this time is abandoned")
    wait_seconds: float = Field(30.0, ge=0, description="how long to wait for Redis at the start")
    lease_seconds: float = Field(LEASE_SECONDS, ge=1.0, le=600.0, description="silence after which another worker takes a job over")

    @property
    def source(self) -> str:
        """Identity of what this worker offers, the same after a restart."""
        return f"{self.worker_name}:{Path(self.models).resolve() if self.models else ''}"

    def new_name(self) -> str:
        """A name for a computing process, like no other's."""
        return f"{self.worker_name}-{os.getpid()}-{secrets.token_hex(3)}"


def load_settings() -> Settings:
    """Reads the environment.

    Raises:
        ConfigurationError: A variable is missing or has a value that cannot be used; the message has one line per mistake.
    """
    return read_environment(Settings)
