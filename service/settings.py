"""Configuration of the service, from environment variables that start with `AYS_`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

BAD_CONFIGURATION = 2
"""Exit status of a process whose environment does not configure it."""

_SCHEMES = ("redis://", "rediss://", "unix://")


def _redis_url(url: str) -> str:
    if not url.startswith(_SCHEMES):
        # Not the value itself: it may hold a password.
        msg = f"expected a URL that starts with {', '.join(_SCHEMES)}, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg)
    return url


class Settings(BaseSettings):
    """Everything that can be configured; each field is the environment variable `AYS_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="AYS_", env_ignore_empty=True, extra="ignore", frozen=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(
        "redis://127.0.0.1:6379/0", description="the Redis that service and workers share", repr=False
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    body_limit: int = Field(64 * 1024, ge=1024, description="largest request body, in bytes")
    stream_seconds: float = Field(600.0, gt=0, description="an event stream is ended after so long; clients resume it")
    heartbeat_seconds: float = Field(10.0, gt=0, description="a comment is sent on event streams at least so often")


class ConfigurationError(Exception):
    """The environment does not configure the service; the message has one line per mistake."""


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: a variable has a value that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError("\n".join(_line(dict(mistake)) for mistake in error.errors(include_url=False))) from None


def _line(mistake: dict[str, object]) -> str:
    location = mistake["loc"]
    name = "_".join(str(part) for part in location).upper() if isinstance(location, tuple) else str(location)
    what = str(mistake["msg"]).removeprefix("Value error, ")
    received = "" if name == "REDIS_URL" else f"received {mistake['input']!r}; "
    return f"service: AYS_{name}: {received}{what[0].lower()}{what[1:]}"
