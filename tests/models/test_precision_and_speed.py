"""How a network is evaluated: compiled or not, in low precision, in another layout, in whatever batches memory allows."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ays_client.contract import JobRequest
from tests.models.cases import load, save
from tests.models.families import FAMILIES, random
from tests.worker.tasks.pipelines import Memory
from worker.ays.denoise import Evaluator
from worker.models.compiled import CompiledNetwork
from worker.models.errors import ModelError
from worker.models.loaded import LoadedModel
from worker.models.network import to_channels_last
from worker.tasks.measure import Measured, measure

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of diffusers' own pipelines
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),  # of the compiler
]

REQUEST = JobRequest(model="x", nfe=3, grid=16, paths=4, effort="fast")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks of convolutions, with a prompt, and of tokens."""
    return save(tmp_path_factory.mktemp("networks"), "unet2d", "sd", "flux")


@pytest.fixture
def _fresh_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A compiler without memory, whose records of every step nobody takes down."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "handlers", [])
    torch._dynamo.reset()
    with torch._inductor.utils.fresh_cache():
        yield
    torch._dynamo.reset()


def of(folders: Path, name: str, *keys: str) -> LoadedModel:
    return load(folders / name, FAMILIES[name], *keys, conditions=FAMILIES[name].conditions(None))


def answer(model: LoadedModel, count: int) -> Tensor:
    x, sigma = random(count, *model.denoiser.shape), torch.linspace(0.1, 9.0, count)
    return model.denoiser.denoise(x, sigma, *([torch.arange(count) % 3] if model.denoiser.conditions else []))


def measured(model: LoadedModel) -> Measured:
    return measure(REQUEST.variant, model, Evaluator(model.denoiser, batch=64), Memory())


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles for a CPU with g++")
def test_inductor_answers_the_same(caplog: pytest.LogCaptureFixture):
    net = torch.nn.Tanh()
    compiled = CompiledNetwork(net, where="x", backend="inductor")
    x = random(64, 33)
    torch.testing.assert_close(compiled(x), net(x), rtol=1e-5, atol=1e-5)
    assert torch._dynamo.utils.counters["inductor"]
    assert "compiling the network failed" not in caplog.text


@pytest.mark.usefixtures("_fresh_compiler")
def test_a_compiled_network_answers_the_same(folders: Path, caplog: pytest.LogCaptureFixture):
    """Without inductor's kernels, which take a minute here: what is traced, and again for another batch, is a real transformer."""
    plain, compiled = of(folders, "flux"), of(folders, "flux", "compile = true", 'compile_backend = "aot_eager"')
    for count in (2, 5):
        torch.testing.assert_close(answer(compiled, count), answer(plain, count), rtol=1e-5, atol=1e-5)
    assert isinstance(compiled.denoiser.net, CompiledNetwork)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert "compiling the network failed" not in caplog.text
    assert compiled.fingerprint == plain.fingerprint


@pytest.mark.usefixtures("_fresh_compiler")
def test_without_a_compiler_the_network_is_evaluated_as_it_is(
    folders: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/gone/g++",))
    received = measured(of(folders, "unet2d", "compile = true"))
    np.testing.assert_array_equal(received.flow.moments, measured(of(folders, "unet2d")).flow.moments)
    told = [record.message for record in caplog.records if "compiling the network failed" in record.message]
    assert len(told) == 1
    assert told[0].startswith("model 'x': ")


class Squaring(torch.nn.Module):
    """A matrix times itself; above two rows there is no memory for it."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError
        return x @ x


@pytest.mark.usefixtures("_fresh_compiler")
def test_errors_of_the_network_itself_are_not_hidden(caplog: pytest.LogCaptureFixture):
    net = CompiledNetwork(Squaring(), where="x", backend="eager")
    with pytest.raises(torch.OutOfMemoryError):
        net(torch.ones(3, 3))
    assert "evaluated without" not in caplog.text, "running out of memory says nothing against the compiler"
    assert net(torch.eye(2)).equal(torch.eye(2))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        net(torch.ones(2, 3))


def test_a_backend_is_one_of_a_list(folders: Path):
    with pytest.raises(ModelError, match='received compile_backend = \'onnx\'; expected "inductor" or "cudagraphs"'):
        of(folders, "unet2d", 'compile_backend = "onnx"')


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["unet2d", "flux"])
def test_a_low_precision_stays_inside(folders: Path, name: str, precision: str):
    low, exact = of(folders, name, f'precision = "{precision}"'), of(folders, name)
    assert {parameter.dtype for parameter in low.denoiser.net.parameters()} == {getattr(torch, precision)}
    received, expected = answer(low, 3), answer(exact, 3)
    assert received.dtype == torch.float32 == low.denoiser.dtype
    assert 0 < (received - expected).abs().max() < 0.1 * expected.abs().max()
    moments, reference = measured(low).flow.moments, measured(exact).flow.moments
    assert moments.dtype == np.float64
    assert low.fingerprint != exact.fingerprint
    assert 0 < np.abs(moments - reference).max() < 0.1 * np.abs(reference).max()
    # Sums of float32 or less would be whole multiples of a coarser step.
    assert (moments.astype(np.float32) != moments).any()


def test_the_layout_of_a_gpu_answers_the_same(folders: Path):
    plain, model = of(folders, "sd"), of(folders, "sd")
    to_channels_last(model.denoiser.net)
    weight = model.denoiser.net.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(answer(model, 3), answer(plain, 3), rtol=1e-5, atol=1e-5)


class Large(torch.nn.Module):
    """A network that asks the system for more memory than there is, where a batch has more than `most` samples."""

    def __init__(self, net: Any, most: int) -> None:
        super().__init__()
        self.net, self.most, self.seen = net, most, []

    def forward(self, x: Tensor, *inputs: Any, **named: Any) -> Any:
        self.seen.append(len(x))
        if len(x) > self.most:
            torch.empty(2**60)
        return self.net(x, *inputs, **named)


def test_a_job_that_runs_out_of_memory_goes_on_with_smaller_batches(folders: Path):
    model = of(folders, "unet2d")
    net: Any = Large(model.denoiser.net, most=3)
    received, expected = measured(replace(model, denoiser=replace(model.denoiser, net=net))), measured(model)
    assert max(net.seen) > 3
    assert net.seen[-1] <= 3
    np.testing.assert_allclose(received.flow.moments, expected.flow.moments, rtol=1e-3, atol=1e-4)


def test_one_sample_that_does_not_fit_is_told(folders: Path):
    model = of(folders, "unet2d")
    denoiser = replace(model.denoiser, net=Large(model.denoiser.net, most=0))
    with pytest.raises(torch.OutOfMemoryError, match="can't allocate memory"):
        measured(replace(model, denoiser=denoiser))
