"""Configuration: every mistake is one clear line."""

import os
import subprocess
import sys

import pytest

from tests.service.server import ROOT

BAD = {
    "AYS_PORT": ("http", "AYS_PORT: received 'http'; input should be a valid integer"),
    "AYS_LOG_LEVEL": ("loud", "AYS_LOG_LEVEL: received 'loud'; input should be 'debug'"),
    "AYS_STREAM_SECONDS": ("0", "AYS_STREAM_SECONDS: received '0'; input should be greater than 0"),
    "AYS_REDIS_URL": ("http://:secret@host", "AYS_REDIS_URL: expected a URL that starts with redis://"),
}


@pytest.mark.parametrize("command", [["-m", "service"], ["-m", "uvicorn", "service.main:app", "--port", "0"]])
def test_mistakes_are_named_and_no_secret_is_shown(command):
    environment = os.environ | {name: value for name, (value, _) in BAD.items()}
    ended = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert len(lines) == len(BAD)
    for _, expected in BAD.values():
        assert any(line.startswith(expected) for line in lines), lines
    assert "secret" not in ended.stderr


def test_a_port_in_use_ends_the_server(server):
    port = server.url.rpartition(":")[2]
    environment = os.environ | {"AYS_PORT": port}
    ended = subprocess.run([sys.executable, "-m", "service"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr
