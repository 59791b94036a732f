"""Probe of a model before any budget is spent on it: six evaluations that find the faults which would waste thousands.

Probed: the denoiser answers with the right shape, type and device, finite, the same twice, and the same whether two samples come
together or one by one; data, where the model has some, comes in the right shape, finite, and the same for the same generator.
"""

import math

import torch
from torch import Tensor

from worker.models.errors import ModelError
from worker.models.loaded import LoadedModel, SampleData

REPEAT_TOLERANCE = 1e-4
"""Largest difference between two equal calls, relative to the size of the answer: a CPU repeats itself exactly, a GPU nearly."""

BATCH_TOLERANCE = 1e-3
"""Largest difference between a batch of two and two batches of one: kernels may depend on the batch, answers may not."""

_ROUNDINGS = 16
"""The same where the forward pass rounds coarsely, in roundings of the network's output, which have the size of sigma in the answer."""
_TF32_ROUNDING = 2.0**-10


def probe(model: LoadedModel) -> None:
    """Raise when a model cannot be measured.

    Args:
        model: the model; nothing of it is changed.

    Raises:
        ModelError: names the fault and the fix.
    """
    where, denoiser = f"model {model.id!r}", model.denoiser
    middle = math.sqrt(denoiser.sigma_min * denoiser.sigma_max)
    sigma = torch.tensor([denoiser.sigma_max, middle], dtype=denoiser.dtype, device=denoiser.device)
    noise = torch.randn(2, *denoiser.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = noise.to(sigma) * sigma.view(-1, *[1] * len(denoiser.shape))
    rounding = _coarse_rounding(model)
    floor = sigma.double() if rounding else torch.zeros_like(sigma, dtype=torch.float64)
    first = _answer(model, x, sigma)
    again = _answer(model, x, sigma)
    repeated = _distance(first, again, floor)
    if repeated > max(REPEAT_TOLERANCE, _ROUNDINGS * rounding):
        received = f"two answers to the same input that differ by {repeated:.2g} of their size"
        fix = "switch off dropout (model.eval()) and draw no random numbers inside denoise"
        raise ModelError.of(where, received=received, expected="the same answer every time (deterministic)", fix=fix)
    apart = torch.cat([_answer(model, x[i : i + 1], sigma[i : i + 1]) for i in range(2)])
    changed = _distance(first, apart, floor)
    if changed > max(BATCH_TOLERANCE, _ROUNDINGS * rounding):
        received = f"answers that change by {changed:.2g} of their size with the batch they come in"
        fix = "use sigma[i] for x[i] (view it as (batch, 1, ...)), and no batch statistics (model.eval())"
        raise ModelError.of(where, received=received, expected="each sample treated alone", fix=fix)
    if model.data is not None:
        _probe_data(where, model.data, denoiser.shape)


def _answer(model: LoadedModel, x: Tensor, sigma: Tensor) -> Tensor:
    where = f"model {model.id!r}"
    try:
        with torch.inference_mode():
            answer = model.denoiser.denoise(x, sigma)
    except ModelError:
        raise
    except Exception as error:  # whatever foreign code raises becomes the answer to the person who asked
        received = f"{type(error).__name__}: {error} from denoise(x, sigma)"
        expected = f"an estimate of x_0 for x of shape {tuple(x.shape)} and sigma of shape {tuple(sigma.shape)}"
        raise ModelError.of(where, received=received, expected=expected, fix="correct denoise") from error
    _check_tensor(where, "denoise", answer, x.shape)
    if answer.dtype != x.dtype or answer.device.type != x.device.type:
        received = f"{answer.dtype} on {answer.device} from denoise"
        expected = f"{x.dtype} on {x.device}, like x"
        raise ModelError.of(where, received=received, expected=expected, fix="end denoise with .to(x)")
    return answer


def _probe_data(where: str, data: SampleData, shape: tuple[int, ...]) -> None:
    try:
        first, again = (data(2, torch.Generator().manual_seed(2)) for _ in range(2))
    except Exception as error:  # foreign code, as above
        received = f"{type(error).__name__}: {error} from sample_data(n, generator)"
        raise ModelError.of(where, received=received, expected="n samples of the data", fix="correct or remove sample_data") from error
    for samples in (first, again):
        _check_tensor(where, "sample_data", samples, (2, *shape))
    if not torch.equal(first, again):
        fix = "pass the generator to every torch random function in sample_data"
        raise ModelError.of(where, received="other samples from an equal generator", expected="the same ones", fix=fix)


def _check_tensor(where: str, name: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        received = f"a {type(value).__name__} from {name}"
        raise ModelError.of(where, received=received, expected="a torch.Tensor", fix=f"return a tensor from {name}")
    if value.shape != shape:
        received = f"shape {tuple(value.shape)} from {name}"
        fix = f"return one estimate per sample from {name}, or correct `shape`"
        raise ModelError.of(where, received=received, expected=f"shape {tuple(shape)}", fix=fix)
    if not value.is_floating_point():
        raise ModelError.of(where, received=f"{value.dtype} from {name}", expected="a floating point type", fix="return .float()")
    if not bool(torch.isfinite(value).all()):
        fix = "check the model's precision, or narrow sigma_min..sigma_max"
        raise ModelError.of(where, received=f"NaN or infinity from {name}", expected="finite values", fix=fix)


def _coarse_rounding(model: LoadedModel) -> float:
    """Rounding of a forward pass in half precision, or in the TF32 of a GPU's convolutions; 0 in full precision."""
    denoiser = model.denoiser
    precision: torch.dtype = getattr(denoiser, "precision", denoiser.dtype)
    if precision in {torch.bfloat16, torch.float16}:
        return torch.finfo(precision).eps
    return _TF32_ROUNDING if denoiser.device.type == "cuda" and precision == torch.float32 else 0.0


def _distance(a: Tensor, b: Tensor, floor: Tensor) -> float:
    """Largest difference, relative to the root mean square of each sample (rows differ in size by orders of magnitude) or its floor."""
    size = a.double().flatten(1).square().mean(1).sqrt().maximum(floor).clamp(min=1e-12)
    return float(((a.double() - b.double()).abs().flatten(1).amax(1) / size).max())
