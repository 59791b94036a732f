# ruff: noqa: ARG001, ARG005 (the faulty ones ignore what they are given)
"""Models that an operator might bring, good ones and faulty ones; factories of the tests' models files."""

import numpy as np
import torch
from torch import Tensor

from worker.ays.analytic import Gaussian


class Model:
    """A good one: standard normal data in two dimensions, float32."""

    shape = (2,)
    sigma_min, sigma_max = 0.01, 50.0

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma.square()).view(-1, 1)


def good(width: float = 1.0) -> Model:
    model = Model()
    model.denoise = lambda x, sigma: x * width**2 / (width**2 + sigma.square()).view(-1, 1)  # type: ignore[method-assign]
    return model


def double() -> Gaussian:
    return Gaussian(0.5, dim=3, sigma_min=0.01, sigma_max=50.0)


class Timed(Model):
    kind = "vp"

    def time(self, sigma: np.ndarray) -> np.ndarray:
        return np.arctan(sigma)

    def sigma(self, time: np.ndarray) -> np.ndarray:
        return np.tan(time)


def timed() -> Timed:
    return Timed()


def broken_time() -> Timed:
    model = Timed()
    model.sigma = lambda time: np.tan(time) * 1.01  # type: ignore[method-assign]
    return model


def half_timed() -> Model:
    model = Model()
    model.kind = "vp"  # type: ignore[attr-defined]
    return model


def raises() -> Model:
    msg = "no such checkpoint"
    raise FileNotFoundError(msg)


def nothing() -> None:
    return None


def bad_range() -> Model:
    model = Model()
    model.sigma_min, model.sigma_max = 5.0, float("inf")
    return model


def _answering(answer: object) -> Model:
    model = Model()
    model.denoise = answer  # type: ignore[method-assign, assignment]
    return model


def raises_later() -> Model:
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        msg = "CUDA out of memory"
        raise RuntimeError(msg)

    return _answering(denoise)


def wrong_shape() -> Model:
    return _answering(lambda x, sigma: x[:, :1])


def wrong_type() -> Model:
    return _answering(lambda x, sigma: x.double())


def no_tensor() -> Model:
    return _answering(lambda x, sigma: x.numpy())


def nan() -> Model:
    return _answering(lambda x, sigma: x / 0.0 * 0.0)


def random() -> Model:
    return _answering(lambda x, sigma: torch.randn_like(x))


def batch_statistics() -> Model:
    return _answering(lambda x, sigma: x - x.mean(0))


def first_sigma_for_all() -> Model:
    return _answering(lambda x, sigma: x / (1 + sigma[0] ** 2))


def _with_data(sample_data: object) -> Model:
    model = Model()
    model.sample_data = sample_data  # type: ignore[attr-defined]
    return model


def with_data() -> Model:
    return _with_data(lambda n, generator: torch.randn(n, 2, generator=generator))


def data_of_wrong_shape() -> Model:
    return _with_data(lambda n, generator: torch.randn(n, 3, generator=generator))


def data_without_generator() -> Model:
    return _with_data(lambda n, generator: torch.randn(n, 2))
