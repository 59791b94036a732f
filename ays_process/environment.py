"""Configuration from environment variables that start with `AYS_`, with all mistakes told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import ConnectionPool
from redis.connection import parse_url
from redis.exceptions import RedisError

from ays_process.logs import LogFormat, LogLevel
from ays_process.secret_files import SUFFIX, SecretFileError, secret_of
from ays_process.tracing import tracing_mistakes

BAD_CONFIGURATION = 2
"""Exit status of a process whose environment does not configure it: starting it again would not help."""

_PREFIX = "AYS_"
_SCHEMES = ("redis://", "rediss://", "unix://")


def _redis_url(url: str) -> str:
    # Never the value itself: it may hold a password.
    if not url.startswith(_SCHEMES):
        msg = f"expected a URL that starts with {', '.join(_SCHEMES)}, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg)
    try:
        given = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        msg = "expected a URL whose port and database are numbers, such as redis://127.0.0.1:6379/0"
        raise ValueError(msg) from None
    try:
        ConnectionPool.from_url(url).make_connection()
    except (TypeError, ValueError, RedisError) as error:
        named = ", ".join(sorted(set(given) - {"host", "port", "db", "username", "password", "path", "connection_class"}))
        msg = f"expected parameters in its query that redis-py knows, such as ssl_ca_certs; received {named} ({type(error).__name__})"
        raise ValueError(msg) from None
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in given and not Path(given[name]).is_file():
            msg = f"expected a file that this process may read in {name}; received {given[name]!r}, which is none"
            raise ValueError(msg)
    return url


RedisUrl = Annotated[str, AfterValidator(_redis_url)]
"""URL of a Redis."""


class ProcessSettings(BaseSettings):
    """What can be configured of every process; each field is the environment variable `AYS_<NAME>`.

    A field that is not shown (`repr=False`) is a secret: it may be in a file, which `AYS_<NAME>_FILE` names.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    redis_password: str | None = Field(None, description="the password for Redis, where its URL holds none", repr=False)
    redis_url: RedisUrl = Field(description="the Redis that service and workers share", repr=False)
    log_level: LogLevel = Field("info", description="lowest level that is logged")
    log_format: LogFormat = Field("json", description="a line of the log: an object for machines, or text for people")

    @field_validator("redis_url")
    @classmethod
    def _with_password(cls, url: str, info: ValidationInfo) -> str:
        password, parts = info.data.get("redis_password"), urlsplit(url)
        if not password:
            return url
        if parts.password:
            msg = f"expected one password, received one in the URL and one in {_PREFIX}REDIS_PASSWORD; leave one out"
            raise ValueError(msg)
        user, _, place = parts.netloc.rpartition("@")
        # As text: `geturl` drops the empty host of a socket.
        return url.replace(f"//{parts.netloc}", f"//{user.rstrip(':')}:{quote(password, safe='')}@{place}", 1)


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
    lines, unread = tracing_mistakes(), set[str]()
    secrets: dict[str, Any] = {}
    for name in _secrets(kind):
        try:
            secrets[name] = secret_of(_variable(name))
        except SecretFileError as error:
            lines.append(str(error))
            unread.add(name)
    try:
        settings = kind(**{name: value for name, value in secrets.items() if value is not None})
    except ValidationError as error:
        mistakes = [mistake for mistake in error.errors(include_url=False) if not unread.intersection(mistake["loc"])]
        lines = [*(_line(kind, dict(mistake)) for mistake in mistakes), *lines]
    if lines:
        raise ConfigurationError("\n".join(lines))
    return settings


def variables_of(kind: type[ProcessSettings]) -> set[str]:
    """The environment variables that configure a process, those that name files of secrets included.

    Args:
        kind: the settings of the process.
    """
    return {_variable(name) for name in kind.model_fields} | {_variable(name) + SUFFIX for name in _secrets(kind)}


def names_redis(environment: Mapping[str, str]) -> bool:
    """Whether an environment says where Redis is."""
    return any(environment.get(name) for name in ("AYS_REDIS_URL", f"AYS_REDIS_URL{SUFFIX}"))


def with_redis(environment: Mapping[str, str], url: str) -> dict[str, str]:
    """The environment of a process of ours that is given a Redis, whatever it was told of one before.

    Args:
        environment: its other variables.
        url: URL of the Redis, with its password.
    """
    told = {"AYS_REDIS_URL", f"AYS_REDIS_URL{SUFFIX}", "AYS_REDIS_PASSWORD", f"AYS_REDIS_PASSWORD{SUFFIX}"}
    return {name: value for name, value in environment.items() if name not in told} | {"AYS_REDIS_URL": url}


def _secrets(kind: type[ProcessSettings]) -> list[str]:
    return [name for name, field in kind.model_fields.items() if not field.repr]


def _variable(name: str) -> str:
    return f"{_PREFIX}{name.upper()}"


def _line(kind: type[ProcessSettings], mistake: dict[str, object]) -> str:
    location = mistake["loc"]
    name = "_".join(str(part) for part in location).upper() if isinstance(location, tuple) else str(location)
    if mistake["type"] == "missing":
        return f"{_PREFIX}{name}: received nothing; expected {kind.model_fields[name.lower()].description}; set it in the environment"
    what = str(mistake["msg"]).removeprefix("Value error, ")
    field = kind.model_fields.get(name.lower())
    # What is not shown in the settings' own text is a secret.
    received = f"received {mistake['input']!r}; " if field is not None and field.repr else ""
    return f"{_PREFIX}{name}: {received}{what[0].lower()}{what[1:]}"
