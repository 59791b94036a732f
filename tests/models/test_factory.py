"""Models brought by an operator: what is accepted, and what each fault is called."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from worker.models.errors import ModelError
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry

Load = Callable[..., LoadedModel]


@pytest.fixture
def load(models_file: Callable[[str], Path]) -> Load:
    """Loads `tests.models.brought:<name>` through a models file."""

    def load(name: str, arguments: str = "", module: str = "tests.models.brought") -> LoadedModel:
        text = f'[models.mine]\nkind = "factory"\nfactory = "{module}:{name}"\n[models.mine.arguments]\n{arguments}\n'
        return Registry(models_file(text)).load("mine")

    return load


def test_arguments_reach_the_function(load: Load):
    x, sigma = torch.ones(1, 2), torch.ones(1)
    assert load("good", "width = 3.0").denoiser.denoise(x, sigma)[0, 0] == pytest.approx(0.9)


def test_precision_of_the_object_is_kept(load: Load):
    model = load("double")
    assert model.denoiser.dtype == torch.float64
    assert model.data is not None


def test_data_is_used_where_there_is_some(load: Load):
    assert load("good").data is None
    data = load("with_data").data
    assert data is not None
    assert data(3, torch.Generator().manual_seed(0)).shape == (3, 2)


def test_native_time(load: Load):
    process = load("timed").process
    levels = np.geomspace(0.01, 50, 9)
    assert process.kind == "vp"
    np.testing.assert_allclose(process.time(levels), np.arctan(levels))
    np.testing.assert_allclose(process.sigma(process.time(levels)), levels)
    np.testing.assert_allclose(process.scale(levels), 1 / np.sqrt(1 + levels**2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "AttributeError: .* from importing tests.models.brought:missing"),
        ("raises", "FileNotFoundError: no such checkpoint from tests.models.brought:raises"),
        ("nothing", "received a NoneType with shape None and no denoise"),
        ("bad_range", "received sigma_min 5.0 and sigma_max inf; expected 0 < sigma_min < sigma_max < infinity"),
        ("half_timed", r"expected both time\(sigma\) and sigma\(time\)"),
        ("broken_time", "a time conversion that is not invertible"),
        ("raises_later", "RuntimeError: CUDA out of memory from denoise"),
        ("wrong_shape", r"received shape \(2, 1\) from denoise; expected shape \(2, 2\)"),
        ("wrong_type", r"received torch.float64 on cpu from denoise; expected torch.float32 on cpu, like x"),
        ("no_tensor", "received a ndarray from denoise; expected a torch.Tensor"),
        ("nan", "received NaN or infinity from denoise"),
        ("random", r"expected the same answer every time \(deterministic\); fix: switch off dropout"),
        ("batch_statistics", "expected each sample treated alone"),
        ("first_sigma_for_all", r"expected each sample treated alone; fix: use sigma\[i\] for x\[i\]"),
        ("data_of_wrong_shape", r"received shape \(2, 3\) from sample_data; expected shape \(2, 2\)"),
        ("data_without_generator", "received other samples from an equal generator"),
    ],
)
def test_faults_are_named(load: Load, name: str, message: str):
    with pytest.raises(ModelError, match=message) as caught:
        load(name)
    assert str(caught.value).startswith("model 'mine': received ")
    assert "fix: " in str(caught.value)


def test_wrong_arguments_are_named(load: Load):
    with pytest.raises(ModelError, match=r"TypeError: .*'depth' from tests.models.brought:good\(depth=3\)"):
        load("good", "depth = 3")


def test_a_module_beside_the_models_file_is_found(load: Load, tmp_path: Path):
    (tmp_path / "ays_beside.py").write_text("from tests.models.brought import good\n")
    assert load("good", module="ays_beside").denoiser.shape == (2,)


def test_a_missing_module_is_named(load: Load):
    with pytest.raises(ModelError, match=r"ModuleNotFoundError: No module named 'ays_nowhere'.*put it beside the models file"):
        load("good", module="ays_nowhere")
