"""How a network was trained, read from `scheduler_config.json`: its noise process, and what it predicts.

Keys that a configuration leaves out have the default of its scheduler's class (Euler and Heun do not share theirs), as in diffusers
itself. How diffusers would sample (spacing, Karras levels, shift, clipping) is no part of it.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from worker.ays.noise import EDM, VP, Array, Flow, NoiseProcess, cosine_betas, linear_betas, scaled_linear_betas, zero_terminal_snr
from worker.models.errors import ModelError
from worker.models.preconditioning import Prediction, coefficients

_EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
_FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
_VP = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
)
SCHEDULERS = (*_VP, *_EDM, *_FLOW)
"""Classes of diffusers whose configuration tells the process of training."""

_EDM_SETTINGS = frozenset({"sigma_min", "sigma_max", "sigma_data", "prediction_type"})
_VP_SETTINGS = frozenset({"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type"})


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training of a network.

    Attributes:
        process: native time <-> noise level.
        prediction: what the network predicts.
        identity: the settings that D depends on, and no others: part of the fingerprint.
    """

    process: NoiseProcess
    prediction: Prediction
    identity: Mapping[str, object]


def read_training(where: str, config: Mapping[str, Any], *, tokens: int | None = None) -> Training:
    """Read a scheduler's configuration.

    Args:
        where: subject of messages.
        config: content of `scheduler_config.json`.
        tokens: length of the row that a transformer sees a sample as, which the shift of a flow may depend on.

    Raises:
        ModelError: the class is none of `SCHEDULERS`, or its settings describe no process.
    """
    kind = config.get("_class_name")
    if kind not in SCHEDULERS:
        expected = "the scheduler of training, one of " + ", ".join(SCHEDULERS)
        fix = "save the pipeline with such a scheduler, or bring the model as a factory"
        raise ModelError.of(where, received=f"a {kind}", expected=expected, fix=fix)
    needed = _EDM_SETTINGS if kind in _EDM else _VP_SETTINGS
    settings = config if set(config) >= needed else {**_defaults(kind), **config}
    try:
        training = _training(where, kind, settings, tokens)
        coefficients(training.prediction, training.process, np.array([training.process.sigma_min, training.process.sigma_max]))
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        received = f"a {kind} of a process that cannot be ({error})"
        fix = "correct scheduler_config.json to what the network was trained with"
        raise ModelError.of(where, received=received, expected="the process of training", fix=fix) from error
    return training


def _defaults(kind: str) -> dict[str, Any]:
    # Imported here: it takes seconds, and whatever save_pretrained writes is complete without it.
    import diffusers

    parameters = inspect.signature(getattr(diffusers, kind).__init__).parameters
    return {name: parameter.default for name, parameter in parameters.items() if parameter.default is not inspect.Parameter.empty}


def _training(where: str, kind: str, settings: Mapping[str, Any], tokens: int | None) -> Training:
    if kind in _FLOW or settings.get("use_flow_sigmas"):
        process = Flow(shift=_shift(settings, tokens))
        return Training(process=process, prediction="flow_prediction", identity={"process": "flow"})
    prediction = settings.get("prediction_type", "epsilon")
    if prediction not in get_args(Prediction):
        expected = "one of " + ", ".join(get_args(Prediction))
        fix = "correct scheduler_config.json to what the network was trained to predict"
        raise ModelError.of(where, received=f"prediction_type {prediction!r}", expected=expected, fix=fix)
    if kind in _EDM:
        return _edm(settings, prediction, sigma_data=float(settings["sigma_data"]))
    if settings.get("timestep_type") == "continuous" and prediction == "v_prediction":
        return _edm(settings, prediction, sigma_data=1.0)
    schedule = _schedule(settings)
    identity = {"process": "vp", "prediction": prediction, **schedule}
    return Training(process=VP(_betas(where, schedule)), prediction=prediction, identity=identity)


def _shift(settings: Mapping[str, Any], tokens: int | None) -> float:
    """Factor on sigma of diffusers' schedules; a dynamic one grows with the number of tokens."""
    if not settings.get("use_dynamic_shifting"):
        return float(settings.get("shift") or settings.get("flow_shift") or 1.0)
    short, long = settings.get("base_image_seq_len", 256), settings.get("max_image_seq_len", 4096)
    low, high = settings.get("base_shift", 0.5), settings.get("max_shift", 1.15)
    mu = float(low + (high - low) * ((long if tokens is None else tokens) - short) / (long - short))
    return mu if settings.get("time_shift_type") == "linear" else math.exp(mu)


def _edm(settings: Mapping[str, Any], prediction: Prediction, *, sigma_data: float) -> Training:
    low, high = settings.get("sigma_min"), settings.get("sigma_max")
    if low is None or high is None or not 0 < low < high < float("inf") or not sigma_data > 0:
        msg = f"sigma_min {low}, sigma_max {high}, sigma_data {sigma_data}; 0 < sigma_min < sigma_max, 0 < sigma_data, all finite"
        raise ValueError(msg)
    identity = {"process": "edm", "prediction": prediction, "range": [float(low), float(high)], "sigma_data": sigma_data}
    process = EDM(sigma_min=float(low), sigma_max=float(high), sigma_data=sigma_data)
    return Training(process=process, prediction=prediction, identity=identity)


def _schedule(settings: Mapping[str, Any]) -> dict[str, object]:
    """The settings that the table of betas depends on."""
    used: dict[str, object] = {"zero_terminal_snr": bool(settings.get("rescale_betas_zero_snr"))}
    if settings.get("trained_betas") is not None:
        return used | {"betas": [float(beta) for beta in settings["trained_betas"]]}
    used |= {"schedule": settings["beta_schedule"], "steps": settings["num_train_timesteps"]}
    return used if used["schedule"] == "squaredcos_cap_v2" else used | {"ends": [settings["beta_start"], settings["beta_end"]]}


def _betas(where: str, schedule: Mapping[str, Any]) -> Array:
    betas = np.asarray(schedule["betas"], dtype=np.float64) if "betas" in schedule else _named_betas(where, schedule)
    return zero_terminal_snr(betas) if schedule["zero_terminal_snr"] else betas


def _named_betas(where: str, schedule: Mapping[str, Any]) -> Array:
    steps = schedule["steps"]
    match schedule["schedule"]:
        case "linear":
            return linear_betas(steps, start=schedule["ends"][0], end=schedule["ends"][1])
        case "scaled_linear":
            return scaled_linear_betas(steps, start=schedule["ends"][0], end=schedule["ends"][1])
        case "squaredcos_cap_v2":
            return cosine_betas(steps)
        case other:
            expected, fix = "linear, scaled_linear or squaredcos_cap_v2", "write the table as trained_betas"
            raise ModelError.of(where, received=f"beta_schedule {other!r}", expected=expected, fix=fix)
