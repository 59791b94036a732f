"""`ays forget`."""

from ays_store import Store
from tests.cli.commands import ays
from tests.service.worker import measured


def test_a_model_is_forgotten_from_the_shell(redis, redis_url, tmp_path):
    measured(Store(redis))
    environment = {"AYS_REDIS_URL": redis_url}
    done = ays("forget", "toy", cwd=tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, "forgot 1 tables with 63 schedules; a job makes them anew\n")
    again = ays("forget", "toy", cwd=tmp_path, **environment)
    assert again.returncode == 2
    assert again.stderr.startswith("error: received 'toy'; expected a model that has stored schedules")
