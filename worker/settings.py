"""Configuration of a worker, from environment variables that start with `AYS_`."""

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FilePath, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.connection import parse_url

from ays_store.limits import LEASE_SECONDS
from ays_store.queue import JOB_SECONDS

_SCHEMES = ("redis://", "rediss://", "unix://")


def _redis_url(url: str) -> str:
    if not url.startswith(_SCHEMES):
        # Not the value itself: it may hold a password.
        msg = f"expected a URL that starts with {', '.join(_SCHEMES)}, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg)
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        msg = "expected a URL whose port and database are numbers, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg) from None
    return url


class Settings(BaseSettings):
    """Everything that can be configured; each field is the environment variable `AYS_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="AYS_", env_ignore_empty=True, extra="ignore", frozen=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(description="the Redis that service and workers share", repr=False)
    models: FilePath | None = Field(None, description="models file (TOML) that adds to the built-in models")
    allow_hub: bool = Field(False, description="whether models that the models file names on the Hugging Face hub may be downloaded")
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="CPU threads of torch")
    warm_models: int = Field(2, ge=1, le=64, description="models kept in memory between jobs")
    worker_name: str = Field(
        default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9._-]{1,100}$", description="beginning of this worker's name"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    job_seconds: int = Field(JOB_SECONDS, ge=1, le=30 * 86_400, description="a job that runs longer is failed")
    drain_seconds: float = Field(20.0, gt=0, description="after SIGTERM, a job that has not come to a stop in this time is abandoned")
    wait_seconds: float = Field(30.0, ge=0, description="how long to wait for Redis at the start")
    lease_seconds: float = Field(LEASE_SECONDS, ge=1.0, le=600.0, description="silence after which another worker takes a job over")

    @property
    def source(self) -> str:
        """Identity of what this worker offers, the same after a restart."""
        return f"{self.worker_name}:{Path(self.models).resolve() if self.models else ''}"


class ConfigurationError(Exception):
    """The environment does not configure a worker; the message has one line per mistake."""


def load_settings() -> Settings:
    """Reads the environment.

    Raises:
        ConfigurationError: A variable is missing or has a value that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError("\n".join(_line(dict(mistake)) for mistake in error.errors(include_url=False))) from None


def _line(mistake: dict[str, object]) -> str:
    location = mistake["loc"]
    name = "_".join(str(part) for part in location).upper() if isinstance(location, tuple) else str(location)
    if mistake["type"] == "missing":
        return f"AYS_{name}: received nothing; expected {Settings.model_fields[name.lower()].description}; set it in the environment"
    what = str(mistake["msg"]).removeprefix("Value error, ")
    received = "" if name == "REDIS_URL" else f"received {mistake['input']!r}; "
    return f"AYS_{name}: {received}{what[0].lower()}{what[1:]}"
