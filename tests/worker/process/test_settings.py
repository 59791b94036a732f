import os

import pytest

from ays_process.environment import ConfigurationError
from worker.process.settings import load_settings


@pytest.fixture
def environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("AYS_"):
            monkeypatch.delenv(name)

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "AYS_REDIS_URL: received nothing; expected the Redis that service and workers share; set it in the environment"),
        (
            {"AYS_REDIS_URL": "http://:secret@there"},
            "AYS_REDIS_URL: expected a URL that starts with redis://, rediss://, unix://, such as redis://127.0.0.1:6379/0",
        ),
        (
            {"AYS_REDIS_URL": "redis://there", "AYS_THREADS": "0"},
            "AYS_THREADS: received '0'; input should be greater than or equal to 1",
        ),
        (
            {"AYS_REDIS_URL": "redis://there", "AYS_MODELS": "nowhere.toml"},
            "AYS_MODELS: received 'nowhere.toml'; path does not point to a file",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_one_clear_line(environment, values, line):
    environment(**values)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == line


def test_a_worker_is_known_by_name_and_models_file(environment, tmp_path):
    models = tmp_path / "models.toml"
    models.touch()
    environment(AYS_REDIS_URL="redis://:secret@there", AYS_WORKER_NAME="gpu0", AYS_MODELS=str(models))
    settings = load_settings()
    assert settings.source == f"gpu0:{models}"
    assert "secret" not in repr(settings)
    assert settings.threads >= 1
