"""Real workers and a real pipeline: what comes out does not depend on how many there are."""

import pytest

from ays_client.contract import Effort, JobRequest, JobState, identity
from benchmarks.scale_out import MODELS_FILE


@pytest.fixture
def models(tmp_path):
    file = tmp_path / "models.toml"
    file.write_text(MODELS_FILE.format(seconds=0.01))
    return str(file)


def test_one_worker_and_two_give_the_same_schedule_bit_for_bit(start, ask, reaches, store, forget, models):
    # Of a solver whose profile grows to four shards, the last two of them in one round.
    request = JobRequest(model="sleeping", nfe=8, solver="dpmpp_2m_sde", grid=24, effort=Effort.FAST)

    def answer():
        """What is stored for the request; nothing of it stays."""
        job = reaches(ask(request), JobState.SUCCEEDED, seconds=60)
        profile, schedule = store.results.profile(identity(request.variant)), store.results.schedule(job.schedule_id)
        table = store.results.cells(profile.id)
        measured = profile.model_copy(update={"seconds": 0.0, "created_at": 0.0})
        forget()
        return schedule, table, measured

    first = start(module="worker", AYS_MODELS=models, AYS_THREADS="1")
    alone = answer()
    second = start(module="worker", AYS_MODELS=models, AYS_THREADS="1")
    together = answer()
    assert together == alone
    assert alone[2].paths >= 64
    assert first.said("shard kept") or second.said("shard kept"), "two have worked at it"
    assert not first.said("shard given back")
