"""`compile = true` on CUDA: the answers of eager, by inductor's kernels and by CUDA graphs, and a network without Triton."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cli.commands import REPOSITORY, environment
from tests.gpu.twins import QUIET, TF32, answer, distance, tiny
from tests.models.cases import save
from tests.models.families import random
from worker.models.compiled import CompiledNetwork

pytestmark = [pytest.mark.gpu, *QUIET, pytest.mark.usefixtures("_fresh_compiler")]

WITHOUT_TRITON = """
import logging
import sys
sys.modules["triton"] = None  # as where it is not installed
import torch
from worker.models.compiled import CompiledNetwork
logging.basicConfig()
net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.SiLU(), torch.nn.Conv2d(8, 1, 3)).cuda().eval().requires_grad_(False)
x = torch.randn(4, 1, 8, 8).cuda()
compiled = CompiledNetwork(net, where="model 'x'", backend="inductor")
print(torch.equal(compiled(x), net(x)), torch.equal(compiled(x[:2]), net(x[:2])))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("networks"), "unet2d", "flux")


@pytest.mark.parametrize("backend", ["inductor", "cudagraphs"])
@pytest.mark.parametrize("name", ["unet2d", "flux"])
def test_a_compiled_network_answers_as_eager(folders: Path, name: str, backend: str, caplog: pytest.LogCaptureFixture):
    """In batches of three sizes; kernels of another order round TF32 otherwise."""
    plain, compiled = tiny(folders, name), tiny(folders, name, "compile = true", f'compile_backend = "{backend}"')
    assert isinstance(compiled.denoiser.net, CompiledNetwork)
    for count in (1, 3, 5):
        assert distance(answer(compiled, count), answer(plain, count)) < TF32
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert "compiling the network failed" not in caplog.text


def test_cuda_graphs_do_not_write_over_an_answer(folders: Path):
    """A graph's output is the same piece of memory in every replay."""
    plain, compiled = tiny(folders, "unet2d"), tiny(folders, "unet2d", "compile = true", 'compile_backend = "cudagraphs"')
    sigma = torch.full((3,), 2.0, device="cuda")
    inputs = [scale * random(3, *plain.denoiser.shape).cuda() for scale in (1.0, 2.0, 3.0, 4.0)]
    received = [compiled.denoiser.denoise(x, sigma) for x in inputs]
    for x, found in zip(inputs, received, strict=True):
        torch.testing.assert_close(found, plain.denoiser.denoise(x, sigma), rtol=TF32, atol=2 * TF32)
    assert not torch.allclose(received[0], received[-1], rtol=0.1)


def test_without_triton_the_network_is_evaluated_as_it_is():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRITON],
        cwd=REPOSITORY,
        env=environment(TORCHINDUCTOR_FORCE_DISABLE_CACHES="1"),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.stdout.split() == ["True", "True"], ended.stderr
    assert ended.stderr.count("model 'x': compiling the network failed") == 1
