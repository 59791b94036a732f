"""Scheduler configurations as processes: what the denoiser depends on, with the defaults of each class."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from worker.models.training import SCHEDULERS, read_training


def config(name: str, **changes: object) -> dict[str, object]:
    return {**changes, "_class_name": name}


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers, in its constructors
@pytest.mark.parametrize("name", [name for name in SCHEDULERS if not name.startswith(("EDM", "FlowMatch"))])
def test_a_configuration_without_betas_has_the_defaults_of_its_class(name: str):
    theirs = getattr(diffusers, name)()
    training = read_training("x", config(name))
    assert training.process.kind == "vp"
    alphas = theirs.alphas_cumprod.double().numpy()
    expected = np.sqrt((1 - alphas) / alphas)
    assert training.process.sigma(np.arange(1000)) == pytest.approx(expected, rel=5e-3)


def test_flow_is_flow_whatever_its_shift():
    plain = read_training("x", config("FlowMatchEulerDiscreteScheduler"))
    shifted = read_training("x", config("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True))
    multistep = read_training("x", config("UniPCMultistepScheduler", use_flow_sigmas=True, prediction_type="flow_prediction"))
    assert plain.identity == shifted.identity == multistep.identity
    assert plain.process.kind == "flow"
    assert plain.prediction == "flow_prediction"
    assert np.isfinite(plain.process.sigma_max)


@pytest.mark.parametrize(("kind", "tokens"), [("exponential", 1024), ("exponential", 4096), ("linear", 1024)])
def test_a_dynamic_shift_is_that_of_flux(kind: str, tokens: int):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    mu = calculate_shift(tokens)
    t = 0.4
    expected = scheduler.time_shift(mu, 1.0, torch.tensor([t])).item()
    process = read_training("x", config("FlowMatchEulerDiscreteScheduler", **scheduler.config), tokens=tokens).process
    sigma = process.shift * t / (1 - t)
    assert sigma / (1 + sigma) == pytest.approx(expected, rel=1e-6)


def test_continuous_v_prediction_is_edm_of_unit_data():
    settings = {"timestep_type": "continuous", "prediction_type": "v_prediction", "sigma_min": 0.002, "sigma_max": 700.0}
    process = read_training("x", config("EulerDiscreteScheduler", **settings)).process
    assert (process.kind, process.sigma_min, process.sigma_max) == ("edm", 0.002, 700.0)


def test_zero_terminal_snr_has_a_finite_range():
    settings = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction"}
    process = read_training("x", config("DDIMScheduler", rescale_betas_zero_snr=True, **settings)).process
    assert 100 < process.sigma_max < 4096


def test_the_identity_holds_what_the_denoiser_depends_on():
    base = config("DDPMScheduler")
    same = [config("DDIMScheduler"), config("PNDMScheduler", steps_offset=1), config("DDPMScheduler", clip_sample=False, beta_end=0.02)]
    assert all(read_training("x", other).identity == read_training("x", base).identity for other in same)
    others = [
        config("HeunDiscreteScheduler"),
        config("DDPMScheduler", beta_end=0.03),
        config("DDPMScheduler", prediction_type="sample"),
        config("DDPMScheduler", rescale_betas_zero_snr=True),
        config("EDMEulerScheduler"),
        config("EDMEulerScheduler", sigma_data=0.6),
    ]
    identities = [str(read_training("x", other).identity) for other in (base, *others)]
    assert len(set(identities)) == len(identities)
