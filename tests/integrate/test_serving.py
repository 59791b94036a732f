"""A pipeline that asks for its schedule before every sample, while the schedule service misbehaves in every way."""

import time

import pytest
import torch

from ays_client import Schedules, apply_schedule
from ays_client.schedulers import scheduled
from tests.client.hostile import Dead, Deaf, Hostile
from tests.integrate import tiny
from tests.integrate.problems import schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

GOOD = schedule()
LIES = ["truncated", "broken_off", "nan", "infinite", "wrong_model", "wrong_budget", "ascending", "too_short", "html", "error"]


@pytest.fixture
def one():
    torch.manual_seed(0)
    return tiny.pixels("DDPMPipeline")


def serve(one, schedules):
    """One request to the pipeline; returns the evaluations of its network and the seconds that the schedule took."""
    start = time.monotonic()
    apply_schedule(one.pipe, schedules.get(model="toy", nfe=8, solver="dpmpp_2m"))
    seconds = time.monotonic() - start
    one(num_inference_steps=4)
    return len(one.calls), seconds


@pytest.mark.parametrize("answer", [*LIES, "slow", "trickling", "endless", Dead, Deaf])
def test_no_request_fails_or_waits_more_than_a_second_in_total(one, answer):
    with Hostile(answer) if isinstance(answer, str) else answer() as service:
        if isinstance(answer, str):
            service.body = GOOD.model_dump_json().encode()
        schedules = Schedules(service.url, snapshots=None)
        served = [serve(one, schedules) for _ in range(5)]
        assert [evaluations for evaluations, _ in served] == [4] * 5
        assert sum(seconds for _, seconds in served) < 1.0


def test_a_schedule_is_taken_up_when_the_service_recovers_and_kept_when_it_goes(one):
    with Hostile("error") as service:
        service.body = GOOD.model_dump_json().encode()
        schedules = Schedules(service.url, snapshots=None, refresh_seconds=0.02)
        assert serve(one, schedules)[0] == 4
        service.answer, end = "good", time.monotonic() + 10
        while serve(one, schedules)[0] == 4:
            assert time.monotonic() < end
        assert scheduled(one.pipe.scheduler)
    assert {serve(one, schedules)[0] for _ in range(5)} == {8}
