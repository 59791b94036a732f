"""Configuration of the service, from environment variables that start with `AYS_`."""

from pydantic import Field

from ays_process.environment import ProcessSettings, RedisUrl, read_environment

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
"""Where a Redis listens unless it is told otherwise."""

QUIET = ("uvicorn.access",)
"""Loggers that are kept to warnings: every request is logged by us, with its id."""


class Settings(ProcessSettings):
    """Everything that can be configured; each field is the environment variable `AYS_<NAME>`."""

    redis_url: RedisUrl = Field(DEFAULT_REDIS_URL, description="the Redis that service and workers share", repr=False)
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    body_limit: int = Field(64 * 1024, ge=1024, description="largest request body, in bytes")
    stream_seconds: float = Field(600.0, gt=0, description="an event stream is ended after so long; clients resume it")
    heartbeat_seconds: float = Field(10.0, gt=0, description="a comment is sent on event streams at least so often")


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: a variable has a value that cannot be used; the message has one line per mistake.
    """
    return read_environment(Settings)
