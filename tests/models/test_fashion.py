"""The second bundled model: an ordinary diffusers folder of an EDM network, which the loader reads as it reads any other."""

import json

import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler, UNet2DModel

from worker.ays.denoise import Evaluator
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, sample
from worker.models.fashion import PIPELINE
from worker.models.fashion.train import SIGMA_MAX, SIGMA_MIN, Training, loss, main, noise_levels, unet
from worker.models.registry import Registry


def test_diffusers_and_the_loader_draw_the_same_images() -> None:
    net = UNet2DModel.from_pretrained(PIPELINE / "unet", local_files_only=True, low_cpu_mem_usage=False)
    scheduler = EDMEulerScheduler.from_pretrained(PIPELINE / "scheduler", local_files_only=True)
    noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(6)
    theirs = noise * SIGMA_MAX
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = net(scheduler.scale_model_input(theirs, t), t).sample
            theirs = scheduler.step(output, t, theirs).prev_sample
    model = Registry(None).load("fashion")
    denoise = Evaluator(model.denoiser, batch=2)
    levels = edm(6, sigma_max=model.process.sigma_max, sigma_min=model.process.sigma_min, terminal="zero")
    ours = sample(SOLVERS["ddim"], denoise, levels, noise.double())
    assert theirs.double().numpy() == pytest.approx(ours.numpy(), abs=2e-4)


def test_it_denoises_what_it_draws() -> None:
    model = Registry(None).load("fashion")
    assert (model.process.kind, model.denoiser.shape) == ("edm", (1, 28, 28))
    assert (model.process.sigma_min, model.process.sigma_max) == (SIGMA_MIN, SIGMA_MAX)
    denoise = Evaluator(model.denoiser, batch=8)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(8, 1, 28, 28, generator=generator, dtype=torch.float64)
    levels = edm(24, sigma_max=SIGMA_MAX, sigma_min=SIGMA_MIN, terminal="zero")
    x_0 = sample(SOLVERS["dpmpp_2m"], denoise, levels, noise)
    for sigma in (0.1, 0.3):
        noisy = x_0 + sigma * torch.randn(x_0.shape, generator=generator, dtype=torch.float64)
        error = (denoise(noisy, torch.full((8,), sigma, dtype=torch.float64)) - x_0).square().mean().sqrt()
        assert float(error) < 0.6 * sigma
    at_the_top = denoise(SIGMA_MAX * noise, torch.full((8,), SIGMA_MAX, dtype=torch.float64))
    assert float(at_the_top.std(dim=0).mean()) < 0.2  # nothing but the mean image can be seen there


def test_noise_levels_cover_the_range_and_half_of_them_are_where_images_are_made() -> None:
    sigma = np.sort(noise_levels(4096, torch.Generator().manual_seed(0)).numpy())
    assert SIGMA_MIN <= sigma[0] < 0.003
    assert 60 < sigma[-1] <= SIGMA_MAX
    assert np.median(sigma) == pytest.approx(np.exp(-0.9), rel=0.05)


def test_the_loss_of_a_network_that_answers_zero_is_the_variance_of_its_target() -> None:
    """For data N(0, 0.7^2) the target of F has unit variance at every level: EDM's preconditioning."""
    net = unet()
    torch.nn.init.zeros_(net.conv_out.weight)
    torch.nn.init.zeros_(net.conv_out.bias)
    generator = torch.Generator().manual_seed(0)
    x_0 = 0.7 * torch.randn(64, 1, 28, 28, generator=generator)
    assert float(loss(net, x_0, generator).detach()) == pytest.approx(1.0, abs=0.02)


def test_a_resumed_training_goes_on_as_if_never_stopped(tmp_path) -> None:
    images = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    whole = Training(images, batch=2, lr=1e-3, seed=0)
    whole.step(8)
    whole.save(tmp_path / "checkpoint.safetensors")
    resumed = Training(images, batch=2, lr=1e-3, seed=0)
    resumed.resume(tmp_path / "checkpoint.safetensors")
    assert [whole.step(8), whole.step(8)] == [resumed.step(8), resumed.step(8)]
    assert all(torch.equal(a, b) for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True))


def test_the_average_keeps_what_it_is_told_to() -> None:
    images = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    nothing, all_but_a_tenth = (Training(images, batch=2, lr=1e-3, seed=0, ema=ema) for ema in (0.0, 0.9))
    before = [weight.clone() for weight in all_but_a_tenth.average.parameters()]
    nothing.step(8)
    all_but_a_tenth.step(8)
    keep = 2 / 11  # of the first step: the average forgets its random start
    for start, weight, average in zip(before, nothing.average.parameters(), all_but_a_tenth.average.parameters(), strict=True):
        assert torch.allclose(average, keep * start + (1 - keep) * weight, atol=1e-6)


def test_the_command_trains_resumes_and_saves_what_the_loader_reads(tmp_path, monkeypatch, capsys) -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "fashion_mnist_train.npz", x=images, y=np.zeros(16, np.uint8))
    command = [
        "train",
        "--data",
        tmp_path,
        "--batch",
        2,
        "--every",
        2,
        "--checkpoint",
        tmp_path / "checkpoint.safetensors",
        "--out",
        tmp_path,
    ]
    for steps in (3, 5):
        monkeypatch.setattr("sys.argv", [str(word) for word in (*command, "--steps", steps)])
        main()
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["step"] for line in told] == [2, 3, 4, 5]
    assert all(0 < line["loss"] < 10 for line in told)
    saved = UNet2DModel.from_pretrained(tmp_path / "unet", local_files_only=True, low_cpu_mem_usage=False)
    assert {name: value.shape for name, value in saved.state_dict().items()} == {
        name: value.shape for name, value in unet().state_dict().items()
    }
