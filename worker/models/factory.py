"""Models brought by an operator: a function, named in the models file, returns an object that is a denoiser.

The object has

    denoise(x, sigma) -> x0_hat      x of shape (batch, *shape) in VE coordinates (x = x_0 + sigma eps), sigma of shape (batch,)
    shape                            shape of one sample
    sigma_min, sigma_max             0 < sigma_min < sigma_max < infinity

and optionally

    sample_data(n, generator)        samples of the data, shape (n, *shape), for forward paths
    kind                             "ve" (the default), "vp", "edm" or "flow"
    time(sigma), sigma(time)         native time of the model, numpy float64 arrays; needed for kind "vp"
    dtype, device                    where it is evaluated; torch.float32 on the CPU by default
    prediction_type, guidance_scale  facts that are written into schedules
"""

import importlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from worker.ays.noise import EDM, VE, Array, Flow, Kind, NoiseProcess
from worker.models.errors import ModelError
from worker.models.fingerprint import behaviour, digest
from worker.models.loaded import LoadedModel
from worker.models.models_file import FactoryEntry
from worker.models.probe import probe

_CHECKED_LEVELS = 33
_ROUND_TRIP = 1e-6


class FactoryDenoiser:
    """A foreign object as a denoiser: its faults become errors that name it."""

    def __init__(self, where: str, made: Any, *, shape: tuple[int, ...], sigma_min: float, sigma_max: float) -> None:
        """Wrap a checked object.

        Args:
            where: subject of messages.
            made: what the factory returned.
            shape: its shape.
            sigma_min: its lowest noise level.
            sigma_max: its highest noise level.
        """
        self._where, self._made = where, made
        self.shape, self.sigma_min, self.sigma_max = shape, sigma_min, sigma_max
        self.dtype: torch.dtype = getattr(made, "dtype", torch.float32)
        self.device = torch.device(getattr(made, "device", "cpu"))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean samples; x of shape (batch, *shape), sigma of shape (batch,).

        Raises:
            ModelError: the object's `denoise` raised.
        """
        try:
            answer: Tensor = self._made.denoise(x, sigma)
        except Exception as error:  # whatever foreign code raises becomes the answer to the person who asked
            received = f"{type(error).__name__}: {error} from denoise(x, sigma)"
            expected = f"an estimate of x_0 for x of shape {tuple(x.shape)} and sigma of shape {tuple(sigma.shape)}"
            raise ModelError.of(self._where, received=received, expected=expected, fix="correct denoise") from error
        return answer


@dataclass(frozen=True, kw_only=True)
class NativeTime:
    """A noise process whose time conversion comes with the object."""

    where: str
    made: Any
    kind: Kind
    sigma_min: float
    sigma_max: float

    def time(self, sigma: ArrayLike) -> Array:
        """Native time of noise levels."""
        return self._convert("time", sigma)

    def sigma(self, time: ArrayLike) -> Array:
        """Noise level of native times."""
        return self._convert("sigma", time)

    def scale(self, sigma: ArrayLike) -> Array:
        """Signal scale of the kind; a factory's network scales its input itself, so this serves consumers alone."""
        level = np.asarray(sigma, dtype=np.float64)
        match self.kind:
            case "vp":
                return 1 / np.sqrt(1 + level**2)
            case "flow":
                return 1 / (1 + level)
            case _:
                return np.ones_like(level)

    def _convert(self, name: str, value: ArrayLike) -> Array:
        received = np.asarray(value, dtype=np.float64)
        try:
            result = np.asarray(getattr(self.made, name)(received), dtype=np.float64)
        except Exception as error:  # foreign code, as in FactoryDenoiser
            received_text = f"{type(error).__name__}: {error} from {name}"
            fix = f"correct {name}; it is given and returns numpy float64 arrays"
            raise ModelError.of(self.where, received=received_text, expected="native time conversion", fix=fix) from error
        if result.shape != received.shape or not np.all(np.isfinite(result)):
            expected = f"finite values of shape {received.shape}"
            raise ModelError.of(self.where, received=f"shape {result.shape} from {name}", expected=expected, fix=f"correct {name}")
        return result


def load_factory(entry: FactoryEntry) -> LoadedModel:
    """Call the function of an entry, check and probe what it returns.

    Args:
        entry: an entry of the models file.

    Raises:
        ModelError: the function cannot be imported or fails, or what it returns is no denoiser.
    """
    where = f"model {entry.id!r}"
    made = _call(where, entry)
    shape, (sigma_min, sigma_max) = _shape(where, made), _range(where, made)
    denoiser = FactoryDenoiser(where, made, shape=shape, sigma_min=sigma_min, sigma_max=sigma_max)
    process = _process(where, made, sigma_min=sigma_min, sigma_max=sigma_max)
    data = getattr(made, "sample_data", None)
    identity = {
        "factory": entry.factory,
        "arguments": dict(entry.arguments),
        "shape": shape,
        "range": [sigma_min, sigma_max],
        "kind": process.kind,
        "data": data is not None,
    }
    model = LoadedModel(
        id=entry.id,
        title=entry.title,
        denoiser=denoiser,
        process=process,
        fingerprint=digest(identity),
        prediction_type=getattr(made, "prediction_type", None),
        guidance_scale=getattr(made, "guidance_scale", None),
        data=data,
    )
    probe(model)  # before its answers enter the fingerprint
    return replace(model, fingerprint=digest({**identity, "behaviour": behaviour(denoiser)}))


def _call(where: str, entry: FactoryEntry) -> object:
    module, _, name = entry.factory.partition(":")
    # Last on the path, so that a file beside the models file never shadows an installed module.
    if str(entry.folder) not in sys.path:
        sys.path.append(str(entry.folder))
    try:
        factory: Callable[..., object] = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs foreign code
        received = f"{type(error).__name__}: {error} from importing {entry.factory}"
        fix = f"install the module, or put it beside the models file in {entry.folder}"
        raise ModelError.of(where, received=received, expected="an importable function", fix=fix) from error
    try:
        return factory(**entry.arguments)
    except Exception as error:  # foreign code
        given = ", ".join(f"{key}={value!r}" for key, value in entry.arguments.items())
        received = f"{type(error).__name__}: {error} from {entry.factory}({given})"
        raise ModelError.of(where, received=received, expected="a denoiser", fix="correct the function or its arguments") from error


def _shape(where: str, made: object) -> tuple[int, ...]:
    shape = getattr(made, "shape", None)
    try:
        sizes = tuple(shape)  # type: ignore[arg-type]
    except TypeError:
        sizes = ()
    if not callable(getattr(made, "denoise", None)) or not sizes or not all(isinstance(n, int) and n > 0 for n in sizes):
        received = f"a {type(made).__name__} with shape {shape!r}" + ("" if hasattr(made, "denoise") else " and no denoise")
        expected = "an object with denoise(x, sigma), shape (positive whole numbers), sigma_min and sigma_max"
        raise ModelError.of(where, received=received, expected=expected, fix="return such an object from the factory")
    return sizes


def _range(where: str, made: object) -> tuple[float, float]:
    low, high = getattr(made, "sigma_min", None), getattr(made, "sigma_max", None)
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if not (numbers and 0 < low < high < math.inf):  # type: ignore[operator]
        received = f"sigma_min {low!r} and sigma_max {high!r}"
        expected = "0 < sigma_min < sigma_max < infinity"
        raise ModelError.of(where, received=received, expected=expected, fix="set both to the range the model was trained on")
    return float(low), float(high)  # type: ignore[arg-type]


def _process(where: str, made: object, *, sigma_min: float, sigma_max: float) -> NoiseProcess:
    kind: Any = getattr(made, "kind", "ve")
    if kind not in get_args(Kind):
        expected = "one of " + ", ".join(get_args(Kind))
        raise ModelError.of(where, received=f"kind {kind!r}", expected=expected, fix="set or remove the attribute kind")
    converts = callable(getattr(made, "time", None)), callable(getattr(made, "sigma", None))
    if any(converts) != all(converts) or (kind == "vp" and not all(converts)):
        received = f"kind {kind!r} with time: {converts[0]}, sigma: {converts[1]}"
        fix = "add the missing method, so that both ways of the conversion are there"
        raise ModelError.of(where, received=received, expected="both time(sigma) and sigma(time)", fix=fix)
    if not all(converts):
        families: dict[str, type[VE | EDM | Flow]] = {"ve": VE, "edm": EDM, "flow": Flow}
        return families[kind](sigma_min=sigma_min, sigma_max=sigma_max)
    process = NativeTime(where=where, made=made, kind=kind, sigma_min=sigma_min, sigma_max=sigma_max)
    levels = np.geomspace(sigma_min, sigma_max, _CHECKED_LEVELS)
    times = process.time(levels)
    if not np.all(np.diff(times) > 0) or not np.allclose(process.sigma(times), levels, rtol=_ROUND_TRIP, atol=0):
        expected = "time that increases with sigma, and sigma(time(s)) == s"
        raise ModelError.of(where, received="a time conversion that is not invertible", expected=expected, fix="correct time or sigma")
    return process
