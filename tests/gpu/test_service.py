"""End to end: the whole stack of real processes, twice with a worker on the GPU and once with one on the CPU."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ays_client import Client
from ays_client.contract import JobRequest, ProfileInfo, Schedule
from service.local.stack import Stack
from tests.gpu.twins import QUIET

# One process, which starts the stacks once.
pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("stacks"), *QUIET]

REQUESTS = {
    "digits": JobRequest(model="digits", nfe=8, grid=32, paths=32),
    "fashion": JobRequest(model="fashion", nfe=6, grid=16, paths=8, effort="fast"),
}
SECONDS = 90.0


@dataclass(frozen=True)
class Answer:
    """What a stack has answered."""

    device: str
    schedules: dict[str, Schedule]
    profiles: dict[str, ProfileInfo]


@contextmanager
def stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """A stack of its own, with an empty store."""
    running = Stack(host="127.0.0.1", port=0, workers=1, redis_url=None, data=folder, log_to_files=True, say=print)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AYS_THREADS": "4", **settings}.items():
            patch.setenv(name, value)
        running.start()
    try:
        yield running
    finally:
        running.stop()


def answers(running: Stack, folder: Path) -> Answer:
    """Wait for its jobs and collect what they found."""
    schedules, profiles = {}, {}
    with Client(running.url) as client:
        for name, request in REQUESTS.items():
            job = client.wait(client.submit(request).id, timeout=SECONDS)
            assert job.attempts == 1
            assert job.schedule_id is not None
            schedules[name] = client.schedule_by_id(job.schedule_id)
            profile = schedules[name].provenance.profile
            assert profile is not None
            profiles[name] = client.profile(profile)
    lines = (folder / "logs" / "worker-1.log").read_text().splitlines()
    ready = [record for record in map(json.loads, filter(lambda line: line.startswith("{"), lines)) if record["event"] == "worker ready"]
    assert len(ready) == 1, "the worker has died on the way"
    return Answer(ready[0]["device"], schedules, profiles)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Answer, Answer]:
    """Answers to the same requests of two stacks on the GPU and one on the CPU, which start side by side."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second", "cpu")]
    with ExitStack() as running:
        stacks = [
            running.enter_context(stack(folder, **settings))
            for folder, settings in zip(folders, ({}, {}, {"CUDA_VISIBLE_DEVICES": ""}), strict=True)
        ]
        for each in stacks:
            assert each.wait_ready(stopping=lambda: False)
            with Client(each.url) as client:
                for request in REQUESTS.values():
                    client.submit(request)
        first, second, cpu = (answers(each, folder) for each, folder in zip(stacks, folders, strict=True))
    return first, second, cpu


def test_workers_say_what_they_compute_on(three: tuple[Answer, Answer, Answer]):
    first, second, cpu = three
    assert first.device == second.device == torch.cuda.get_device_name()
    assert cpu.device == "cpu, 4 threads"


@pytest.mark.parametrize("name", REQUESTS)
def test_the_same_gpu_gives_the_same_bits(three: tuple[Answer, Answer, Answer], name: str):
    first, second, _ = three
    assert first.schedules[name].sigmas == second.schedules[name].sigmas
    assert first.schedules[name].id == second.schedules[name].id, "all of the body, errors included"
    assert first.profiles[name].moments == second.profiles[name].moments


@pytest.mark.parametrize("name", REQUESTS)
def test_a_profile_of_the_gpu_is_that_of_the_cpu_up_to_tf32(three: tuple[Answer, Answer, Answer], name: str):
    """Same weights, same paths; the network's convolutions round to 10 bits."""
    first, _, cpu = three
    assert first.schedules[name].fingerprint == cpu.schedules[name].fingerprint
    received, expected = (torch.tensor(answer.profiles[name].moments["flow"], dtype=torch.float64) for answer in (first, cpu))
    assert not torch.equal(received, expected)
    assert float((received - expected).abs().max()) < 0.01 * float(expected.abs().max())


def test_a_schedule_of_the_gpu_is_as_good_as_that_of_the_cpu(three: tuple[Answer, Answer, Answer]):
    """Both are judged on the same noises. TF32 moves the search's choices, at a minimum where the error hardly depends on them: a tenth."""
    received, expected = (answer.schedules["digits"].error for answer in (three[0], three[2]))
    assert received is not None
    assert expected is not None
    assert received.ours.mean == pytest.approx(expected.ours.mean, rel=0.1)
    assert received.ours.mean < min(stock.mean for stock in received.stock.values())
