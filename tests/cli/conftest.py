"""A models file with small models, and one served stack for the tests that only ask; its tables hold three solvers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tests.cli.commands import Running, running
from tests.store.waiting import until
from tests.worker.conftest import Process

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
    """A stack that `ays serve` runs, but for its worker."""

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
    with running("serve", "--port", "0", "--workers", "0", cwd=folder) as command:
        command.wait_for("ready; Ctrl-C stops everything")
        redis, url = f"unix://{quote((folder / '.ays/redis/socket').read_text().strip())}", command.out.split()[1]
        worker = Process(redis, folder, 0, "tests.worker.small", {"AYS_MODELS": str(models_toml), "AYS_THREADS": "1"})
        try:
            until(lambda: httpx2.get(f"{url}/readyz").is_success, seconds=90, what="a live worker")
            yield Served(url, folder, command)
        finally:
            worker.kill_all()
