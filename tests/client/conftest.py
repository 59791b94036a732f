import pytest

from ays_client import Client
from tests.service.conftest import brisk_server, server, store

__all__ = ["brisk_server", "server", "store"]


@pytest.fixture
def client(server):
    with Client(server.url) as opened:
        yield opened
