"""The untuned models are what their cards say: trained, in their range, and drawing what they were trained on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.cases import UNTUNED_CASES, Case, load
from benchmarks.untuned.emoji import train as emoji_train
from benchmarks.untuned.emoji.data import COLUMNS, HELD_OUT, augmented, hue_rotation, pooled, save_sheet, stored_held_out
from benchmarks.untuned.emoji.quality import energy_distance
from benchmarks.untuned.spiral.data import law, spiral
from benchmarks.untuned.spiral.network import SpiralDenoiser
from benchmarks.untuned.spiral.train import train as train_spiral
from worker.ays.denoise import Denoiser, Evaluator
from worker.ays.paths import Stream, starting_noise
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, sample
from worker.models.network_denoiser import NetworkDenoiser


def real(case_id: str, count: int) -> Tensor:
    return spiral(count, torch.Generator().manual_seed(9)) if case_id == "untuned-spiral" else stored_held_out()[:count]


def samples(denoiser: Denoiser, count: int, *, steps: int) -> Tensor:
    levels = edm(steps, sigma_max=80.0, sigma_min=0.01, terminal="zero")
    noise = starting_noise(denoiser.shape, range(count), seed=0, stream=Stream.FRESH)
    return sample(SOLVERS["dpmpp_2m"], Evaluator(denoiser, batch=1024), levels, noise)


@pytest.mark.parametrize("case", UNTUNED_CASES, ids=lambda case: case.id)
def test_an_untuned_model_loads_and_keeps_what_has_hardly_any_noise(case: Case) -> None:
    model = load(case.id)
    kinds = {"untuned-spiral": ("vp", (2,), "v_prediction"), "untuned-emoji-16": ("flow", (3, 16, 16), "flow_prediction")}
    assert (model.process.kind, model.denoiser.shape, model.prediction_type) == kinds[model.id]
    assert model.denoiser.sigma_min == model.process.sigma_min < 0.02
    assert 100 < model.process.sigma_max < 2000
    low = model.process.sigma_min
    clean = real(model.id, 8)
    x = clean + low * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    moved = (model.denoiser.denoise(x, torch.full((8,), low)) - x).square().mean().sqrt()
    assert moved < 2 * low


def test_the_spiral_network_is_near_the_exact_denoiser() -> None:
    network = load("untuned-spiral").denoiser
    generator = torch.Generator().manual_seed(0)
    clean = spiral(2000, generator)
    for level in (0.05, 0.2, 1.0, 5.0, 100.0):
        x = clean + level * torch.randn(clean.shape, generator=generator)
        sigma = torch.full((len(x),), level)
        exact = law().denoise(x.double(), sigma.double())
        least = (clean - exact).square().sum(1).mean()
        assert (network.denoise(x, sigma) - exact).square().sum(1).mean() < 0.15 * least


def test_spiral_samples_are_nearly_as_likely_as_data() -> None:
    trained = load("untuned-spiral").denoiser
    assert isinstance(trained, SpiralDenoiser)
    weights = trained.net.state_dict()
    broken = SpiralDenoiser(weights | {"leave.weight": torch.zeros_like(weights["leave.weight"])})
    data = spiral(4000, torch.Generator().manual_seed(1)).double()
    gaps = [law().log_density(data).mean() - law().log_density(samples(each, 1000, steps=32)).mean() for each in (trained, broken)]
    assert -0.2 < gaps[0] < 1.5
    assert gaps[1] > 10


def test_the_density_of_the_spiral_is_that_of_its_points() -> None:
    drawn = law().sample_data(4000, torch.Generator().manual_seed(3))
    data = spiral(4000, torch.Generator().manual_seed(4)).double()
    assert abs(energy_distance(drawn, data)) < 0.002


def test_emoji_samples_are_near_real_ones_and_those_of_a_broken_network_are_not() -> None:
    whole = load("untuned-emoji-16").denoiser
    assert isinstance(whole, NetworkDenoiser)
    held_out = stored_held_out()
    assert held_out.shape == (HELD_OUT, 3, 16, 16)
    assert energy_distance(samples(whole, 32, steps=12), held_out) < 0.8
    broken = replace(whole, net=Still())
    assert energy_distance(samples(broken, 32, steps=12), held_out) > 2.0


class Still(nn.Module):
    """A network that answers zero."""

    def forward(self, x: Tensor, time: Tensor, labels: None = None, return_dict: bool = False) -> tuple[Tensor]:
        del time, labels, return_dict
        return (torch.zeros_like(x),)


def test_a_resumed_training_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def training() -> emoji_train.Training:
        return emoji_train.Training(images, size=16, batch=2, lr=1e-3, seed=0)

    whole, first, second = training(), training(), training()
    losses = [whole.step(3).item() for _ in range(3)]
    first.step(3)
    first.save(tmp_path / "checkpoint.pt")
    second.resume(tmp_path / "checkpoint.pt")
    assert [second.step(3).item() for _ in range(2)] == losses[1:]
    assert all(torch.equal(a, b) for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True))


def test_times_are_spread_over_the_whole_range() -> None:
    drawn = emoji_train.times(400, torch.Generator().manual_seed(0))
    assert drawn.min() < 0.002
    assert drawn.max() > 0.998
    assert drawn.median() == pytest.approx(0.43, abs=0.1)


def test_white_and_grey_have_no_hue() -> None:
    turn = hue_rotation(torch.tensor([0.3, -1.0]))
    assert torch.allclose(turn @ torch.ones(3), torch.ones(2, 3), atol=1e-6)
    assert torch.allclose(turn @ turn.mT, torch.eye(3).expand(2, 3, 3), atol=1e-6)
    assert torch.allclose(turn.det(), torch.ones(2))


def test_augmented_images_are_moved_over_white() -> None:
    spot = torch.ones(200, 3, 32, 32)
    spot[:, :, 10, 12] = -1.0
    found = augmented(spot, torch.Generator().manual_seed(0))
    assert torch.allclose(found.mean((1, 2, 3)), spot.mean((1, 2, 3)), atol=1e-5)
    where = (found[:, 0] < 0).nonzero()[:, 1:].float()
    assert where[:, 0].unique().tolist() == [8, 9, 10, 11, 12]
    assert set(where[:, 1].unique().tolist()) == {10, 11, 12, 13, 14, 17, 18, 19, 20, 21}


def test_a_sheet_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pooled(torch.randint(256, (HELD_OUT, 3, 32, 32), generator=torch.Generator().manual_seed(0)) / 127.5 - 1, 16)
    save_sheet(images, tmp_path / "sheet.png")
    monkeypatch.setattr("benchmarks.untuned.emoji.data.HELD_OUT_SHEET", tmp_path / "sheet.png")
    assert HELD_OUT % COLUMNS
    assert (stored_held_out() - images).abs().max() < 1.01 / 255


def test_the_perceptron_learns() -> None:
    brief, trained = train_spiral(steps=60, batch=128, seed=0), load("untuned-spiral").denoiser
    x = spiral(2000, torch.Generator().manual_seed(5))
    sigma = torch.full((len(x),), 0.3)
    noisy = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(6))
    errors = [(each.denoise(noisy, sigma) - x).square().mean() for each in (SpiralDenoiser(brief.state_dict()), trained)]
    untrained = (noisy - x).square().mean()
    assert untrained > errors[0] > errors[1]
