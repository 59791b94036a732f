"""Profiles of denoisers on CUDA: paths, sums and schedules stay float64 on the CPU, only the denoiser is elsewhere."""

import numpy as np
import pytest
import torch

from ays_client.contract import JobRequest
from tests.ays.problems import evaluator, flow_shard, plane, spectrum
from tests.gpu.twins import QUIET, bundled, on_cpu
from tests.worker.tasks.pipelines import Memory
from worker.ays.analytic import AnisotropicGaussian, GaussianMixture
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream, data_generator
from worker.ays.profile.profile import Shard, log_grid, measure_forward
from worker.models.loaded import LoadedModel
from worker.tasks.measure import measure

pytestmark = [pytest.mark.gpu, *QUIET]

LAWS = {"mixture": plane, "gaussian": spectrum}
PATHS = range(24)
POINTS = 24


def moved(law: AnisotropicGaussian | GaussianMixture) -> AnisotropicGaussian | GaussianMixture:
    """The law with its constants, and so its arithmetic, on the GPU."""
    for name, value in vars(law).items():
        if isinstance(value, torch.Tensor):
            setattr(law, name, value.cuda())
    law.device = torch.device("cuda")
    return law


def shards(law: AnisotropicGaussian | GaussianMixture, data: torch.Tensor) -> tuple[Shard, Shard]:
    levels = log_grid(law.sigma_max, law.sigma_min, POINTS)
    return flow_shard(law, points=POINTS, paths=PATHS), measure_forward(evaluator(law), data, levels, PATHS, seed=0)


@pytest.mark.parametrize("name", LAWS)
def test_an_exact_denoiser_has_the_profile_of_the_cpu(name: str):
    """In float64 everywhere: 24 levels add up some hundred roundings of 1e-16."""
    law = LAWS[name]()
    data = torch.cat([law.sample_data(1, data_generator(i, seed=0, stream=Stream.PROFILE)) for i in PATHS])
    for received, expected in zip(shards(moved(LAWS[name]()), data), shards(law, data), strict=True):
        for part in ("groups", "squares", "drift"):
            values, exact = getattr(received, part), getattr(expected, part)
            assert values.dtype == np.float64
            np.testing.assert_allclose(values, exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())


def test_estimates_come_back_in_float64_to_the_cpu():
    model = bundled("digits")
    x = torch.randn(3, *model.denoiser.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    received = Evaluator(model.denoiser, batch=8)(x, torch.full((3,), 2.0, dtype=torch.float64))
    assert (received.dtype, received.device.type) == (torch.float64, "cpu")
    assert torch.equal(received.float().double(), received), "the network itself answers in float32"


def moments(model: LoadedModel, grid: int) -> tuple[np.ndarray, np.ndarray]:
    variant = JobRequest(model=model.id, nfe=3, grid=grid, paths=4, effort="fast").variant
    found = measure(variant, model, Evaluator(model.denoiser, batch=64), Memory())
    return found.flow.moments, found.forward.moments


@pytest.mark.parametrize(("name", "grid"), [("digits", 32), ("fashion", 16)])
def test_a_network_has_the_profile_of_the_cpu_up_to_tf32(name: str, grid: int):
    """Paths are drawn on the CPU, the same for both; TF32 turns each estimate by a thousandth, and the path with it."""
    model = bundled(name)
    for received, expected in zip(moments(model, grid), moments(on_cpu(model), grid), strict=True):
        assert (received.astype(np.float32) != received).any(), "sums are float64"
        assert 0 < np.abs(received - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.usefixtures("_full_float32")
def test_a_network_has_the_profile_of_the_cpu_without_tf32():
    model = bundled("digits")
    for received, expected in zip(moments(model, 32), moments(on_cpu(model), 32), strict=True):
        assert np.abs(received - expected).max() < 1e-4 * np.abs(expected).max()
