"""A stored profile and later requests, with a real worker and a real pipeline."""

import pytest

from ays_client.contract import Effort, JobRequest, JobState, identity
from benchmarks.scale_out import MODELS_FILE


def of(solver, **fields):
    return JobRequest(model="sleeping", nfe=8, solver=solver, grid=24, effort=Effort.FAST, detail=1.4, **fields)


EASY, HARD = of("euler"), of("dpmpp_2m_sde")
"""Sixteen paths are enough for one, and not for the other."""

PROFILE = identity(EASY.variant)


@pytest.fixture
def answered(start, ask, reaches, store, tmp_path):
    """Asks a worker, and returns what is stored then: the schedule, and the profile without its times."""
    file = tmp_path / "models.toml"
    file.write_text(MODELS_FILE.format(seconds=0.001))
    start(module="worker", AYS_MODELS=str(file), AYS_THREADS="1")

    def answer(request):
        job = reaches(ask(request), JobState.SUCCEEDED, seconds=60)
        profile = store.results.profile(PROFILE)
        return store.results.schedule(job.schedule_id), profile.model_copy(update={"seconds": 0.0, "created_at": 0.0})

    return answer


def test_a_later_request_gets_what_it_would_have_got_as_the_first(answered, forget):
    first = answered(HARD)
    forget()
    _, small = answered(EASY)
    later = answered(HARD)
    assert small.paths < later[1].paths
    assert later == first


def test_a_damaged_profile_is_measured_again(answered, redis):
    _, whole = answered(EASY)
    redis.set(f"ays:1:profile:{PROFILE}", b"damaged")
    _, again = answered(of("ddim"))
    assert again == whole
