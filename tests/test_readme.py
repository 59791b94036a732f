"""The README is executed: its curl and Python blocks against a served stack; what it names exists."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import REPOSITORY, environment, running

TEXT = (REPOSITORY / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("serve", "--port", "0", cwd=tmp_path_factory.mktemp("readme")) as command:
        command.wait_for("ready; Ctrl-C stops everything")
        yield command.out.split()[1]
        assert command.end(signal.SIGINT) == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_run_in_the_order_of_the_page(url: str, tmp_path: Path) -> None:
    submit, queries = blocks("bash")
    (client,) = blocks("python")
    assert '"state":"queued"' in shell(submit, url, tmp_path)
    printed = script(client, url, tmp_path)
    assert "succeeded" in printed
    assert "trailing" in printed
    answers = shell(queries, url, tmp_path)
    assert "DPMSolverMultistepScheduler" in answers
    assert '"digits"' in answers
    assert '"state":"succeeded"' in shell(submit, url, tmp_path)


def shell(block: str, url: str, folder: Path) -> str:
    done = run(["bash", "-euc", block.replace(ADDRESS, url).replace("curl ", "curl --fail-with-body ")], folder)
    return done.replace(": ", ":")


def script(block: str, url: str, folder: Path) -> str:
    return run([sys.executable, "-c", block.replace(ADDRESS, url)], folder)


def run(command: list[str], folder: Path) -> str:
    settings = environment(PYTHONPATH=str(REPOSITORY))
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_make_target_it_names_exists() -> None:
    named = set(re.findall(r"`?make ([a-z-]+)[ `]", TEXT)) - {"command"}
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test", "serve", "bench-quality"} <= named
    assert named <= targets


def test_every_command_it_names_exists() -> None:
    shown = run([sys.executable, "-m", "service.cli", "--help"], Path.cwd())
    named = set(re.findall(r"^ays ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert {"optimize", "schedule", "models", "serve", "worker"} <= named
    assert all(re.search(rf"\b{name}\b", shown) for name in named)


def test_every_link_leads_somewhere() -> None:
    linked = [target for target in re.findall(r"\]\(([^)]+)\)", TEXT) if not target.startswith("http")]
    assert linked
    assert [target for target in linked if not os.path.exists(REPOSITORY / target)] == []
