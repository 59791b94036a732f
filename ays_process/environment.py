"""Configuration from environment variables that start with `AYS_`, with all mistakes told at once."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.connection import parse_url

from ays_process.logs import LogFormat, LogLevel
from ays_process.tracing import tracing_mistakes

BAD_CONFIGURATION = 2
"""Exit status of a process whose environment does not configure it: starting it again would not help."""

_SCHEMES = ("redis://", "rediss://", "unix://")


def _redis_url(url: str) -> str:
    # Never the value itself: it may hold a password.
    if not url.startswith(_SCHEMES):
        msg = f"expected a URL that starts with {', '.join(_SCHEMES)}, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg)
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        msg = "expected a URL whose port and database are numbers, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg) from None
    return url


RedisUrl = Annotated[str, AfterValidator(_redis_url)]
"""URL of a Redis."""


class ProcessSettings(BaseSettings):
    """What can be configured of every process; each field is the environment variable `AYS_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="AYS_", env_ignore_empty=True, extra="ignore", frozen=True)

    redis_url: RedisUrl = Field(description="the Redis that service and workers share", repr=False)
    log_level: LogLevel = Field("info", description="lowest level that is logged")
    log_format: LogFormat = Field("json", description="a line of the log: an object for machines, or text for people")


class ConfigurationError(Exception):
    """The environment does not configure the process; the message has one line per mistake."""


SettingsType = TypeVar("SettingsType", bound=ProcessSettings)


def read_environment(kind: type[SettingsType]) -> SettingsType:
    """Read the environment.

    Args:
        kind: the settings of the process.

    Raises:
        ConfigurationError: variables are missing or have values that cannot be used.
    """
    lines = tracing_mistakes()
    try:
        settings = kind()
    except ValidationError as error:
        lines = [*(_line(kind, dict(mistake)) for mistake in error.errors(include_url=False)), *lines]
    if lines:
        raise ConfigurationError("\n".join(lines))
    return settings


def _line(kind: type[ProcessSettings], mistake: dict[str, object]) -> str:
    location = mistake["loc"]
    name = "_".join(str(part) for part in location).upper() if isinstance(location, tuple) else str(location)
    if mistake["type"] == "missing":
        return f"AYS_{name}: received nothing; expected {kind.model_fields[name.lower()].description}; set it in the environment"
    what = str(mistake["msg"]).removeprefix("Value error, ")
    field = kind.model_fields.get(name.lower())
    # What is not shown in the settings' own text is a secret.
    received = f"received {mistake['input']!r}; " if field is not None and field.repr else ""
    return f"AYS_{name}: {received}{what[0].lower()}{what[1:]}"
