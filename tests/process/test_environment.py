"""Every mistake in the environment is told, at once, and no secret with them."""

import sys

import pytest
from pydantic import Field

from ays_process.environment import ConfigurationError, ProcessSettings, RedisUrl, read_environment
from ays_process.tracing import tracing_mistakes, wanted


class Some(ProcessSettings):
    count: int = Field(1, ge=1, description="a number")
    token: int = Field(0, description="a secret", repr=False)
    backup: RedisUrl | None = Field(None, description="another Redis", repr=False)


def test_all_mistakes_are_told(monkeypatch):
    monkeypatch.setenv("AYS_REDIS_URL", "redis://:secret@host:port")
    monkeypatch.setenv("AYS_COUNT", "0")
    monkeypatch.setenv("AYS_TOKEN", "secret")
    monkeypatch.setenv("AYS_BACKUP", "http://:secret@host")
    monkeypatch.setenv("AYS_LOG_FORMAT", "xml")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigurationError) as caught:
        read_environment(Some)
    assert sorted(str(caught.value).splitlines()) == [
        "AYS_BACKUP: expected a URL that starts with redis://, rediss://, unix://, such as redis://127.0.0.1:6379/0",
        "AYS_COUNT: received '0'; input should be greater than or equal to 1",
        "AYS_LOG_FORMAT: received 'xml'; input should be 'json' or 'text'",
        "AYS_REDIS_URL: expected a URL whose port and database are numbers, such as redis://127.0.0.1:6379/0",
        "AYS_TOKEN: input should be a valid integer, unable to parse string as an integer",
        "OTEL_EXPORTER_OTLP_PROTOCOL: received 'grpc'; expected http/protobuf; change it or leave it out",
    ]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "here"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://there/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_sent_where_a_collector_is_named(environment, expected):
    assert wanted(environment) is expected


def test_traces_that_nothing_can_send_are_a_mistake(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert tracing_mistakes() == []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    (line,) = tracing_mistakes()
    assert line.endswith("install the extra `otel` or unset it")
