"""`ays doctor` names the GPU, and says when torch cannot see one that it is built for."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.commands import ays

pytestmark = pytest.mark.gpu


def device(folder: Path, **settings: str) -> dict[str, str]:
    """The doctor's finding."""
    ended = ays("doctor", "--json", "--url", "http://127.0.0.1:9", cwd=folder, **settings)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return next(each for each in found if each["about"] == "device")


def test_the_gpu_is_named_with_its_memory(tmp_path: Path):
    found = device(tmp_path)
    assert found["verdict"] == "ok"
    assert torch.cuda.get_device_name() in found["seen"]
    assert f"of {torch.cuda.mem_get_info()[1] / 2**30:.1f} GiB free" in found["seen"]


def test_a_gpu_that_is_hidden_is_missed(tmp_path: Path):
    found = device(tmp_path, CUDA_VISIBLE_DEVICES="")
    assert found["verdict"] == "warn"
    assert f"although this torch is built for CUDA {torch.version.cuda}" in found["seen"]
