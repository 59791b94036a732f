"""A stored profile and later requests, with a real worker and a real pipeline."""

import pytest

from ays_client.contract import Effort, JobRequest, JobState, identity
from tests.store.bodies import untimed


def of(solver, **fields):
    return JobRequest(model="sleeping", nfe=8, solver=solver, grid=24, effort=Effort.FAST, detail=1.4, **fields)


EASY, HARD = of("dpmpp_2m"), of("dpmpp_2m_sde")
"""Sixteen paths are enough for one, and not for the other."""

PROFILE = identity(EASY.variant)


@pytest.fixture
def work(start_real):
    """Starts a worker."""
    return lambda: start_real(seconds=0.001, module="tests.worker.small")


@pytest.fixture
def answers(ask, reaches, store):
    """Asks for all at once; returns the schedules, and the profile without its times, that are stored then."""

    def answered(*requests):
        jobs = [reaches(job_id, JobState.SUCCEEDED, seconds=60) for job_id in [ask(request) for request in requests]]
        return *(store.results.schedule(job.schedule_id) for job in jobs), untimed(store.results.profile(PROFILE))

    return answered


def test_a_later_request_gets_what_it_would_have_got_as_the_first(work, answers, forget):
    work()
    first = answers(HARD)
    forget()
    _, small = answers(EASY)
    later = answers(HARD)
    assert small.paths < later[1].paths
    assert later == first


def test_two_requests_at_once_get_what_each_would_have_got_alone(work, answers, forget):
    work()
    easy, _ = answers(EASY)
    forget()
    hard, whole = answers(HARD)
    forget()
    work()
    *both, stored = answers(HARD, EASY)
    assert both[0] == hard
    # Whoever comes later may find more paths than it needs.
    assert both[1] == easy or stored == whole


def test_a_damaged_profile_is_measured_again(work, answers, redis):
    work()
    _, whole = answers(EASY)
    redis.set(f"ays:1:profile:{PROFILE}", b"damaged")
    _, again = answers(of("dpmpp_2m", terminal="sigma_min"))
    assert again == whole
