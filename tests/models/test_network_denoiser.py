"""D of a diffusers folder against diffusers' own predicted x_0."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, EDMDPMSolverMultistepScheduler, EDMEulerScheduler, UNet2DModel

from ays_client.contract import JobRequest
from tests.worker.tasks.pipelines import Memory
from worker.ays.denoise import Evaluator
from worker.ays.noise import SIGMA_CAP, VP
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.digits.train import scheduler, unet
from worker.models.hub import Hub
from worker.models.loaded import LoadedModel
from worker.tasks.measure import measure
from worker.tasks.pipeline import optimize


def load(path: Path) -> LoadedModel:
    return load_diffusers(DiffusersEntry(id="mine", title="Mine", source=path), Hub(allowed=False))


def edit_scheduler(path: Path, **changes: object) -> None:
    file = path / "scheduler/scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


BETAS = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"trained_betas": list(np.linspace(1e-4, 0.03, 500)), "num_train_timesteps": 500},
]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("betas", BETAS, ids=lambda betas: str(betas.get("beta_schedule", "trained")))
def test_equals_the_predicted_clean_sample_of_ddim(copy: Path, prediction: str, betas: dict[str, object]):
    edit_scheduler(copy, prediction_type=prediction, **betas)
    model = load(copy)
    ddim = DDIMScheduler.from_pretrained(copy / "scheduler", clip_sample=False)
    net = DDPMPipeline.from_pretrained(copy).unet
    steps = ddim.config.num_train_timesteps
    ddim.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    for time in (0, 1, steps // 4, steps // 2, int(0.9 * steps)):
        # Not from diffusers' float32 table, whose 1 - abar has three digits left at time 0.
        sigma = float(model.process.sigma(time))
        x_t = torch.randn(3, 1, 8, 8, generator=generator)
        x = x_t / ddim.alphas_cumprod[time].sqrt()
        with torch.inference_mode():
            expected = ddim.step(net(x_t, time).sample, time, x_t).pred_original_sample
        received = model.denoiser.denoise(x, torch.full((3,), sigma))
        # x itself is of size sigma, and float32 rounds it to 6e-8 of that.
        torch.testing.assert_close(received, expected, rtol=1e-5, atol=1e-5 * max(1.0, sigma))


@pytest.mark.parametrize("scheduler_class", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_equals_the_denoised_sample_of_edm(copy: Path, scheduler_class: type, prediction: str):
    edm = scheduler_class(sigma_min=0.003, sigma_max=70.0, sigma_data=0.4, prediction_type=prediction)
    edm.save_pretrained(copy / "scheduler")
    denoiser, net = load(copy).denoiser, UNet2DModel.from_pretrained(copy / "unet")
    assert (denoiser.sigma_min, denoiser.sigma_max) == (0.003, 70.0)
    for sigma in (0.003, 0.4, 1.7, 70.0):
        level = torch.tensor(sigma)
        x = sigma * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            output = net(edm.precondition_inputs(x, level), edm.precondition_noise(level)).sample
        expected = edm.precondition_outputs(x, output, level)
        torch.testing.assert_close(denoiser.denoise(x, level.expand(3)), expected, rtol=1e-5, atol=1e-5)


def test_a_learned_variance_is_left_out(tmp_path: Path):
    torch.manual_seed(0)
    net = UNet2DModel(**{**unet().config, "out_channels": 2}).eval()
    DDPMPipeline(unet=net, scheduler=DDPMScheduler(variance_type="learned_range")).save_pretrained(tmp_path)
    model, sigma = load(tmp_path), torch.tensor([0.5, 3.0])
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    time = torch.tensor(model.process.time(sigma.double().numpy()), dtype=torch.float32)
    level = sigma.view(-1, 1, 1, 1)
    with torch.inference_mode():
        expected = x - level * net(x / (1 + level**2).sqrt(), time).sample[:, :1]
    torch.testing.assert_close(model.denoiser.denoise(x, sigma), expected, rtol=1e-5, atol=1e-5)


def test_time_between_table_entries_is_a_float_that_the_network_sees(pipeline: Path):
    model = load(pipeline)
    sigma = model.process.sigma([500.0, 500.5, 501.0])
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1)
    scaled = x * torch.tensor(np.sqrt(1 + sigma**2), dtype=torch.float32).view(-1, 1, 1, 1)
    answers = model.denoiser.denoise(scaled, torch.tensor(sigma, dtype=torch.float32))
    halfway = (answers[0] + answers[2]) / 2
    gap = (answers[0] - answers[2]).abs().max()
    assert gap > 0
    assert (answers[1] - halfway).abs().max() < 0.25 * gap


def test_a_loaded_folder_knows_its_process(pipeline: Path):
    model = load(pipeline)
    assert isinstance(model.process, VP)
    assert (model.denoiser.shape, model.prediction_type, model.guidance_scale) == ((1, 8, 8), "epsilon", None)
    table = ((1 - scheduler().alphas_cumprod) / scheduler().alphas_cumprod).sqrt()
    assert model.denoiser.sigma_min == pytest.approx(float(table[0]), rel=1e-3)
    assert model.denoiser.sigma_max == pytest.approx(float(table[-1]), rel=1e-3)
    assert model.data is None


def test_zero_terminal_snr_leaves_everything_finite(copy: Path):
    edit_scheduler(copy, prediction_type="v_prediction", rescale_betas_zero_snr=True, beta_schedule="scaled_linear")
    model, request = load(copy), JobRequest(model="x", nfe=4, grid=16, paths=2, effort="fast")
    profile = measure(request.variant, model, Evaluator(model.denoiser, batch=64), Memory()).info
    schedule = optimize(request, model, Memory(stored=profile)).requested
    for body in (profile, schedule):
        json.loads(body.model_dump_json(), parse_constant=pytest.fail)
    assert schedule.sigmas[0] <= model.process.sigma_max < SIGMA_CAP
    assert schedule.timesteps[0] <= 998
