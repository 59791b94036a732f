"""Fixtures shared by all tests: few threads, and one real Redis server per session."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from service.local.embedded_redis import EmbeddedRedis

# Tests run side by side, and so do the processes they start: one thread each.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

LONGEST = ("tests/test_readme.py", "tests/chaos/test_chaos.py", "tests/page/test_page.py")
"""Files that take minutes. Begun last, one of them would run alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, where `--dist loadfile --no-loadscope-reorder` leaves them."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """Give torch one thread: tests run side by side. Torch is not imported for it, some environments have none."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis server that lives as long as the test session."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder) as server:
        yield server.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of an empty Redis server."""
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    # A server of the session must not find the mark of a version that it does not know.
    client.delete("ays:2:schema")
    client.close()
