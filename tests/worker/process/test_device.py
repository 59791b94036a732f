"""The GPU of a worker, which may be there and of no use: a device in exclusive mode has one process, and a full one none."""

import json

import pytest
import torch

from worker.process import checkup, compute, exits
from worker.process.device import DeviceError, Gpu, gpu

BUSY = "CUDA error: CUDA-capable device(s) is/are busy or unavailable\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"


@pytest.fixture
def card(monkeypatch):
    """A GPU that answers what it is told to when it is asked for its memory."""

    def answers(memory):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 1")
        monkeypatch.setattr(torch.cuda, "mem_get_info", memory)

    return answers


@pytest.fixture
def _busy(card):
    def refused():
        raise torch.AcceleratorError(BUSY)

    card(refused)


@pytest.fixture
def _environment(monkeypatch):
    monkeypatch.setenv("AYS_REDIS_URL", "redis://127.0.0.1:9/0")


def device_finding(capsys):
    assert checkup.main() == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return next(each for each in found if each.get("about") == "device")


def test_there_may_be_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu() is None


def test_it_is_named_with_its_memory(card):
    card(lambda: (3, 4))
    assert gpu() == Gpu("Card 1", free=3, total=4)


@pytest.mark.usefixtures("_busy")
def test_one_that_is_busy_is_told_in_one_line():
    with pytest.raises(DeviceError, match=r"busy or unavailable; expected .*; fix: .*nvidia-smi.*CUDA_VISIBLE_DEVICES") as told:
        gpu()
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("_busy", "_environment")
def test_a_worker_with_a_busy_gpu_says_so_and_ends(capsys):
    assert compute.main("w", 0) == exits.NO_DEVICE
    assert capsys.readouterr().err.startswith("the GPU: received CUDA error: CUDA-capable device(s) is/are busy")


@pytest.mark.usefixtures("_busy", "_environment")
def test_the_checkup_fails_a_busy_gpu(capsys):
    found = device_finding(capsys)
    assert (found["verdict"], "busy" in found["seen"], "nvidia-smi" in found["fix"]) == ("fail", True, True)


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(("free", "verdict"), [(30, "ok"), (10, "warn")])
def test_the_checkup_warns_of_a_gpu_that_is_nearly_full(card, capsys, free, verdict):
    card(lambda: (free * 2**30, 80 * 2**30))
    found = device_finding(capsys)
    assert found["verdict"] == verdict
    assert f"on Card 1, {free}.0 of 80.0 GiB free" in found["seen"]
