"""The examples run as they are, against a real stack."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ays_client.contract import Schedule
from tests.cli.commands import REPOSITORY, ays, environment
from tests.cli.conftest import Served

EXAMPLES = REPOSITORY / "examples"


def run(*command: str, url: str, cwd: Path) -> str:
    settings = environment(PYTHONPATH=str(REPOSITORY), AYS_URL=url)
    done = subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def answered(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A stack that has the schedule that the clients ask for."""
    done = ays("optimize", "small", "--nfe", "8", cwd=tmp_path_factory.mktemp("answered"), AYS_URL=served.url)
    assert done.returncode == 0, done.stderr
    return served


def test_python_client(answered: Served, tmp_path: Path):
    printed = run(sys.executable, str(EXAMPLES / "client.py"), "small", url=answered.url, cwd=tmp_path)
    assert len(json.loads(printed)) == 9


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_client(answered: Served, tmp_path: Path):
    printed = run(str(EXAMPLES / "client_curl.sh"), "small", url=answered.url, cwd=tmp_path)
    assert len([float(word) for word in printed.split(",")]) == 9


def test_a_denoiser_of_ones_own(tmp_path: Path):
    words = ["optimize", "two-moons", "--nfe", "6", "--effort", "fast", "--local", "--json"]
    done = ays(*words, cwd=tmp_path, AYS_MODELS=str(EXAMPLES / "models.toml"))
    assert done.returncode == 0, done.stderr
    assert Schedule.model_validate_json(done.stdout).model == "two-moons"
