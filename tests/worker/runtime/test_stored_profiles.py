"""A stored profile and later requests, with a real worker and a real pipeline."""

import pytest

from ays_client.contract import Effort, JobRequest, JobState, identity
from tests.store.bodies import untimed


def of(solver, **fields):
    return JobRequest(**{"model": "sleeping", "nfe": 8, "solver": solver, "grid": 24, "effort": Effort.FAST} | fields)


ODE, SDE = of("dpmpp_2m"), of("dpmpp_2m_sde")
"""Of either path measure, and both guarded, which runs the model on the profile's own paths."""

PROFILE = identity(ODE.variant)


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


def test_a_fast_request_has_the_same_answer_in_an_empty_store_and_after_other_jobs(work, answers, forget):
    work()
    first = answers(SDE)
    forget()
    answers(of("dpmpp_2m", nfe=5), ODE)
    assert answers(SDE) == first


def test_two_requests_at_once_get_what_each_would_have_got_alone(work, answers, forget):
    work()
    ode, whole = answers(ODE)
    forget()
    sde, _ = answers(SDE)
    forget()
    work()
    assert answers(SDE, ODE) == (sde, ode, whole)


def test_a_damaged_profile_is_measured_again(work, answers, redis):
    work()
    _, whole = answers(ODE)
    redis.set(f"ays:2:profile:{PROFILE}", b"damaged")
    _, again = answers(of("dpmpp_2m", detail=1.4))
    assert again == whole
