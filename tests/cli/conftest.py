"""A models file with small models, and one served stack for the tests that only ask."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.commands import Running, running

MODELS = """
[models.small]
kind = "factory"
factory = "tests.models.brought:good"
title = "Standard normal, two dimensions"
[models.faulty]
kind = "factory"
factory = "tests.models.brought:nan"
[models.slow]
kind = "factory"
factory = "tests.cli.slow_model:slow"
"""


@dataclass(frozen=True)
class Served:
    """A stack that `ays serve` runs."""

    url: str
    folder: Path
    command: Running


@pytest.fixture(scope="session")
def models_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.toml"
    path.write_text(MODELS)
    return path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, models_toml: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    # A user's files with the names of our packages are never run in their place.
    for name in ("worker", "service"):
        (folder / f"{name}.py").write_text("raise SystemExit(99)")
    with running("serve", "--port", "0", cwd=folder, AYS_MODELS=str(models_toml)) as command:
        command.wait_for("ready; Ctrl-C stops everything")
        yield Served(command.out.split()[1], folder, command)
