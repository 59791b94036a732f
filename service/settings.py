"""Configuration of the service, from environment variables that start with `AYS_`."""

from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from ays_process.environment import ProcessSettings, RedisUrl, read_environment
from service.access.hosts import is_loopback
from service.webhooks.reach import Network, Reach
from service.webhooks.signing import Secrets

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
"""Where a Redis listens unless it is told otherwise."""

RETRY_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Pauses between the tries of a webhook, those that Standard Webhooks recommends: ten tries in a little more than three days."""

_PAUSES_MAX, _LONGEST_PAUSE = 20, 86_400

QUIET = ("uvicorn.access",)
"""Loggers that are kept to warnings: every request is logged by us, with its id."""


def _words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if urlsplit(f"//{name}").hostname != name.lower():
            msg = f"{name!r} is no name of a host; expected names without port, separated by commas, such as ays.example.org"
            raise ValueError(msg)
    return names


def _web_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin or not parts.hostname:
            msg = f"{origin!r} is no origin; expected scheme and host of each trusted site, such as https://studio.example.org"
            raise ValueError(msg)
    return origins


def _networks(value: object) -> object:
    try:
        return tuple(ip_network(word) for word in _words(value)) if isinstance(value, str) else value
    except ValueError as error:
        msg = f"{error}; expected networks separated by commas, such as 10.1.0.0/16, or single addresses"
        raise ValueError(msg) from None


def _pauses(value: object) -> object:
    try:
        pauses = tuple(float(word) for word in _words(value)) if isinstance(value, str) else value
    except ValueError:
        pauses = ()
    if not isinstance(pauses, tuple) or not 1 <= len(pauses) <= _PAUSES_MAX or not all(0 <= pause <= _LONGEST_PAUSE for pause in pauses):
        msg = f"expected 1 to {_PAUSES_MAX} pauses in seconds, separated by commas, of at most {_LONGEST_PAUSE} (a day) each"
        raise ValueError(msg)
    return pauses


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
Pauses = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_pauses)]


class Settings(ProcessSettings):
    """Everything that can be configured; each field is the environment variable `AYS_<NAME>`."""

    redis_url: RedisUrl = Field(DEFAULT_REDIS_URL, description="the Redis that service and workers share", repr=False)
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    connection_limit: int = Field(1000, ge=16, le=100_000, description="most open connections; more are refused")
    request_seconds: float = Field(10.0, gt=0, description="header fields have to arrive within this time, and then the body")
    body_limit: int = Field(64 * 1024, ge=1024, description="largest request body, in bytes")
    cache_entries: int = Field(20_000, ge=0, description="most answers of schedule lookups kept in memory")
    cache_bytes: int = Field(64 * 2**20, ge=0, description="most bytes of all of them together")
    retention_days: float = Field(90.0, ge=0, description="results that were not used for so long are dropped; 0: never")
    stream_seconds: float = Field(600.0, gt=0, description="an event stream is ended after so long; clients resume it")
    require_keys: bool = Field(False, description="whether API keys are asked for on loopback, too; elsewhere they always are")
    key_grace_seconds: float = Field(3600.0, ge=0, description="how long a key that was in use stays good while Redis is away")
    reads_per_minute: int = Field(6000, ge=0, description="reading requests of an API key; 0: no limit")
    submits_per_minute: int = Field(120, ge=0, description="submitting requests of an API key; 0: no limit")
    queue_limit: int = Field(10_000, ge=0, description="jobs that may wait, of all callers together; 0: any number")
    queue_limit_per_key: int = Field(1000, ge=0, description="jobs of an API key that may wait; 0: any number")
    limit_anonymous: bool = Field(False, description="whether these rates hold where no key is asked for, for all callers together")
    open_metrics: bool = Field(False, description="whether /metrics needs no key")
    allowed_hosts: Annotated[Words, AfterValidator(_host_names)] = Field(
        (), description="names that the service is reached by, separated by commas; empty: any, on loopback its own"
    )
    cors_origins: Annotated[Words, AfterValidator(_web_origins)] = Field(
        (), description="other sites whose pages may use the service, separated by commas"
    )
    webhook_secret: Secrets = Field((), description="secrets that sign webhooks, whsec_...; empty: there are none", repr=False)
    webhook_networks: Networks = Field(
        (), description="networks that webhooks may reach though they are not public, such as 10.1.0.0/16, separated by commas"
    )
    webhook_http: bool = Field(False, description="whether webhooks may be unencrypted, http://")
    webhook_retry_seconds: Pauses = Field(RETRY_SECONDS, description="pauses between the tries of a webhook, separated by commas")
    heartbeat_seconds: float = Field(10.0, gt=0, description="a comment is sent on event streams at least so often")

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.require_keys or not is_loopback(self.host)

    @property
    def webhook_reach(self) -> Reach:
        """Where webhooks may go."""
        return Reach(networks=self.webhook_networks, http=self.webhook_http)


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: a variable has a value that cannot be used; the message has one line per mistake.
    """
    return read_environment(Settings)
