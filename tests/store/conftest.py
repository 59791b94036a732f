import pytest

from ays_store import Queue, Store


@pytest.fixture
def store(redis):
    return Store(redis, lease_seconds=0.2)


@pytest.fixture
def queue(redis):
    return Queue(redis)
