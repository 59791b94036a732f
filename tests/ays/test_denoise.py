"""The evaluator: batches change nothing, evaluations are counted, nonsense is refused in words."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ays.problems import plane
from worker.ays.denoise import DenoiserError, Evaluator, along
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid, measure_flow, measure_forward
from worker.ays.search.reference import solve_reference, squared_errors
from worker.ays.solvers import SOLVERS


class Broken:
    """A denoiser that returns what it is told to."""

    shape = (2,)
    sigma_min, sigma_max = 0.1, 10.0
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, result: Tensor) -> None:
        self.result = result
        self.seen: list[torch.dtype] = []

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.seen += [x.dtype, sigma.dtype]
        return self.result.expand(len(x), *self.result.shape)


def points(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, 2, generator=generator, dtype=torch.float64) * 3, torch.linspace(0.1, 9, n, dtype=torch.float64)


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 1000])
def test_the_batch_size_does_not_change_the_answer(batch: int) -> None:
    x, sigma = points(65)
    whole = plane().denoise(x, sigma)
    torch.testing.assert_close(Evaluator(plane(), batch=batch)(x, sigma), whole, rtol=1e-12, atol=1e-12)


def test_evaluations_are_counted_and_shown_after_each_batch() -> None:
    seen: list[int] = []
    denoise = Evaluator(plane(), batch=4, on_batch=seen.append)
    denoise(*points(10))
    denoise(*points(3))
    assert seen == [4, 8, 10, 13]
    assert denoise.evaluations == 13


def test_a_callback_may_stop_the_work() -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Evaluator(plane(), batch=4, on_batch=stop)(*points(10))


def test_the_model_sees_its_own_precision_and_the_caller_float64() -> None:
    model = Broken(torch.zeros(2))
    assert Evaluator(model, batch=8)(*points(3)).dtype == torch.float64
    assert set(model.seen) == {torch.float32}


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(DenoiserError, match=r"returned shape \(5, 3\); expected \(5, 2\), the shape of x"):
        Evaluator(Broken(torch.zeros(3)), batch=8)(*points(5))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused_with_the_levels(value: float) -> None:
    with pytest.raises(DenoiserError, match=r"NaN or infinity at sigma in \[0\.1, 9\]; check its precision, or narrow sigma"):
        Evaluator(Broken(torch.tensor([0.0, value])), batch=8)(*points(5))


class Told:
    """A denoiser that answers with the number of its condition."""

    shape, conditions = (2,), 3
    sigma_min, sigma_max = 0.1, 10.0
    dtype, device = torch.float32, torch.device("cpu")

    def denoise(self, x: Tensor, sigma: Tensor, index: Tensor | None = None) -> Tensor:
        del sigma
        assert index is not None
        return index.to(x).view(-1, 1).expand_as(x)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_path_keeps_its_condition_at_every_level_and_in_every_batch(batch: int) -> None:
    x, sigma = points(8)
    received = Evaluator(Told(), batch=batch).along([1, 2, 3, 7])(x, sigma)
    assert received[:, 0].tolist() == [1, 2, 0, 1] * 2


def test_without_paths_all_samples_have_the_first_condition() -> None:
    assert Evaluator(Told(), batch=4)(*points(5)).abs().max() == 0


def test_a_model_without_conditions_is_the_same_along_any_paths() -> None:
    denoise = Evaluator(plane(), batch=4)
    assert along(denoise, [0, 1]) is denoise
    assert along(plane().denoise, [0, 1]) is not None


def test_profile_and_validation_keep_the_conditions_of_paths() -> None:
    levels, denoise = log_grid(10.0, 0.1, 4), Evaluator(Told(), batch=3)
    # D is the condition itself, so every sample ends at it.
    _, paths = measure_flow(denoise, (2,), levels, range(2, 7), seed=0)
    assert paths.ends[:, 0].tolist() == [2, 0, 1, 2, 0]
    one = solve_reference(
        SOLVERS["ddim"], denoise, (2,), levels=levels, terminal="zero", indices=range(4), seed=0, stream=Stream.VALIDATION
    )
    both = one.joined(one.part(1, 3))
    assert both.reference[:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    table = np.array([[10.0, 1.0, 0.0], [10.0, 3.0, 0.0]])
    assert squared_errors(SOLVERS["ddim"], denoise, table, both).max() == 0
    forward = measure_forward(denoise, paths.ends, levels, range(2, 7), seed=0)
    assert np.abs(forward.groups.sum(axis=0)[:-1, :-1]).max() == 0
