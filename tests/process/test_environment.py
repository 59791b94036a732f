"""Every mistake in the environment is told, at once, and no secret with them."""

import sys

import pytest
from pydantic import Field
from redis.connection import parse_url

from ays_process.environment import ConfigurationError, ProcessSettings, RedisUrl, read_environment, variables_of, with_redis
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
    ("query", "received"),
    [
        ("ssl_ca_cert=/etc/ca.pem", "received ssl_ca_cert (TypeError)"),
        ("ssl_ca_certs=/nowhere/ca.pem", "expected a file that this process may read in ssl_ca_certs; received '/nowhere/ca.pem'"),
    ],
)
def test_what_tls_cannot_use_is_told_without_the_password(monkeypatch, query, received):
    monkeypatch.setenv("AYS_REDIS_URL", f"rediss://service:hidden@there:6380/0?{query}")
    with pytest.raises(ConfigurationError) as caught:
        read_environment(Some)
    assert received in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_secrets_are_read_from_files(monkeypatch, tmp_path):
    for name, content in (("URL", "redis://there:1/2\n"), ("PASSWORD", " p@ss/word \r\n")):
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"AYS_REDIS_{name}_FILE", str(tmp_path / name))
    (tmp_path / "token").write_text("7")
    monkeypatch.setenv("AYS_TOKEN_FILE", str(tmp_path / "token"))
    settings = read_environment(Some)
    assert (settings.token, settings.count) == (7, 1)
    assert parse_url(settings.redis_url) == {"host": "there", "port": 1, "db": 2, "password": "p@ss/word"}
    assert "p@ss" not in repr(settings)
    names = variables_of(Some)
    assert {"AYS_TOKEN", "AYS_TOKEN_FILE", "AYS_COUNT", "AYS_REDIS_PASSWORD_FILE"} <= names
    assert "AYS_COUNT_FILE" not in names


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://service@there/0", {"username": "service", "host": "there", "db": 0}),
        ("rediss://[::1]:7/0", {"host": "::1", "port": 7, "db": 0}),
        ("unix:///run/redis.sock?db=1", {"path": "/run/redis.sock", "db": 1}),
        ("unix://service@/run/redis.sock", {"username": "service", "path": "/run/redis.sock"}),
    ],
)
def test_a_password_of_its_own_goes_into_any_url(monkeypatch, url, expected):
    monkeypatch.setenv("AYS_REDIS_URL", url)
    monkeypatch.setenv("AYS_REDIS_PASSWORD", "a:b@c/d%")
    found = parse_url(read_environment(Some).redis_url)
    assert {name: found[name] for name in (*expected, "password")} == {**expected, "password": "a:b@c/d%"}


def test_mistakes_in_files_of_secrets_are_told_without_their_content(monkeypatch, tmp_path):
    (tmp_path / "two").write_text("hush\nhush")
    (tmp_path / "bytes").write_bytes(b"\xffhush")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "url").write_text("http://:hush@there")
    (tmp_path / "endless").write_text("hush" * 100_000)

    def told(**variables):
        for name in variables_of(Some):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"AYS_{name}", str(value))
        with pytest.raises(ConfigurationError) as caught:
            read_environment(Some)
        assert "hush" not in str(caught.value)
        return str(caught.value).splitlines()

    two = "which is empty, or more than one line; expected a file that holds the secret alone"
    for name in ("two", "empty", "endless"):
        assert told(REDIS_URL_FILE=tmp_path / name) == [f"AYS_REDIS_URL_FILE: received '{tmp_path / name}', {two}"]
    (line,) = told(REDIS_URL_FILE=tmp_path / "bytes")
    assert "no text" in line
    (line,) = told(REDIS_URL_FILE=tmp_path / "nowhere")
    assert "No such file or directory" in line
    (line,) = told(REDIS_URL_FILE=tmp_path / "url")
    assert line.startswith("AYS_REDIS_URL: expected a URL that starts with")
    (line,) = told(REDIS_URL="redis://there", REDIS_PASSWORD="hush", REDIS_PASSWORD_FILE=tmp_path / "url")
    assert line.startswith("AYS_REDIS_PASSWORD_FILE: received a file, and AYS_REDIS_PASSWORD as well")
    (line,) = told(REDIS_URL="redis://:hush@there", REDIS_PASSWORD="hush")
    assert line.startswith("AYS_REDIS_URL: expected one password")


def test_a_process_that_is_given_a_redis_hears_of_no_other():
    told = {"AYS_REDIS_URL_FILE": "a", "AYS_REDIS_PASSWORD": "b", "AYS_REDIS_PASSWORD_FILE": "c", "AYS_REDIS_URL": "d", "AYS_PORT": "1"}
    assert with_redis(told, "redis://here") == {"AYS_REDIS_URL": "redis://here", "AYS_PORT": "1"}


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
