"""The published tables against diffusers: the same betas, and the numbers that it ships."""

import pytest
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from diffusers.schedulers import AysSchedules

from ays_client.contract import Terminal
from ays_client.published import PUBLISHED
from ays_process.environment import BAD_CONFIGURATION
from worker.process.compute import main

# Diffusers turns torch tensors into arrays in a way that numpy 2 announces to end, and computes its tables in float32.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}


@pytest.mark.parametrize(("name", "betas"), [("stable-diffusion-1.5", LATENT), ("stable-diffusion-xl", LATENT), ("deepfloyd-if", COSINE)])
def test_the_levels_are_those_of_the_timesteps_in_diffusers(name, betas):
    signal = DDPMScheduler(**betas).alphas_cumprod.double()
    table = PUBLISHED[name]
    expected = [float(((1 - signal[timestep]) / signal[timestep]).sqrt()) for timestep in table.timesteps]
    assert table.levels == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("name", "key"), [("stable-diffusion-1.5", "StableDiffusion"), ("stable-diffusion-xl", "StableDiffusionXL")])
def test_diffusers_ships_the_same_table(name, key):
    table = PUBLISHED[name]
    assert list(table.timesteps[:-1]) == AysSchedules[f"{key}Timesteps"]
    euler = EulerDiscreteScheduler(**LATENT)
    euler.set_timesteps(timesteps=AysSchedules[f"{key}Timesteps"])
    assert table.schedule(10, Terminal.ZERO) == pytest.approx(euler.sigmas.tolist(), rel=1e-3)


def test_diffusers_ships_the_same_video_table():
    assert PUBLISHED["stable-video-diffusion"].schedule(10, Terminal.ZERO) == AysSchedules["StableDiffusionVideoSigmas"]


def test_a_worker_refuses_a_table_that_was_never_published(tmp_path, monkeypatch, capsys):
    models = tmp_path / "models.toml"
    models.write_text('[models.net]\nkind = "diffusers"\npath = "net"\npublished = "stable-diffusion-3"\n')
    monkeypatch.setenv("AYS_MODELS", str(models))
    monkeypatch.setenv("AYS_REDIS_URL", "redis://127.0.0.1:9/0")
    assert main("w", 0) == BAD_CONFIGURATION
    said = capsys.readouterr().err
    assert "model 'net' of the models file: received published = 'stable-diffusion-3'; expected one of stable-diffusion-1.5, " in said
