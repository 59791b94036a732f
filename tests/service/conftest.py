import httpx2
import pytest

from ays_store import Queue, Store
from tests.service.server import Server
from tests.service.worker import toy


@pytest.fixture(scope="session")
def server(redis_url, tmp_path_factory):
    with Server(redis_url, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def brisk_server(redis_url, tmp_path_factory):
    """A server that ends event streams after a second, with heartbeats every 0.2 s."""
    settings = {"AYS_STREAM_SECONDS": 1.0, "AYS_HEARTBEAT_SECONDS": 0.2}
    with Server(redis_url, tmp_path_factory.mktemp("brisk") / "log", **settings) as running:
        yield running


@pytest.fixture
def http(server):
    with httpx2.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture
def store(redis):
    """An empty store with the model `toy` on offer."""
    opened = Store(redis)
    opened.models.publish([toy()], source="host")
    return opened


@pytest.fixture
def queue(redis):
    return Queue(redis)
