"""The stored picture of what a schedule does: rows from the same noises, bounded in size, and no more than it says."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from ays_client.contract import JobRequest
from tests.worker.tasks.test_pipeline import MODEL, Shelf
from worker.ays.denoise import Evaluator
from worker.ays.noise import VE
from worker.ays.paths import Stream, starting_noise
from worker.models.loaded import LoadedModel
from worker.tasks.measure import measure
from worker.tasks.pipeline import optimize
from worker.tasks.png import png
from worker.tasks.samples import LARGEST, NOISES, rows

CPU = torch.device("cpu")
RANGE = {"sigma_min": 0.02, "sigma_max": 20.0}


@dataclass(frozen=True)
class Images:
    """Independent Gaussian pixels: the fine solution of each is known up to a factor."""

    shape: tuple[int, ...]
    sigma_min: float = RANGE["sigma_min"]
    sigma_max: float = RANGE["sigma_max"]
    dtype: torch.dtype = torch.float64
    device: torch.device = CPU

    def denoise(self, x, sigma):
        return x * (0.25 / (0.25 + sigma.square())).view(-1, 1, 1, 1)


def model(*shape):
    return LoadedModel(
        id="images",
        title="Images",
        denoiser=Images(shape),
        process=VE(**RANGE),
        fingerprint="f" * 32,
        prediction_type=None,
        guidance_scale=None,
        data=None,
    )


def asked(**changes):
    return JobRequest.model_validate({"model": "images", "nfe": 4, "grid": 16, "paths": 4, "effort": "fast"} | changes)


def answer(request, of):
    """What the pipeline answers from a stored profile: without the table, which takes seconds and of which no picture shows anything."""
    profile = measure(request.variant, of, Evaluator(of.denoiser, batch=64), Shelf()).info
    return optimize(request, of, Shelf(stored=profile))


def decoded(grid):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(grid.image.removeprefix("data:image/png;base64,")))))


@pytest.mark.parametrize("channels", [1, 3])
def test_pngs_are_read_back_by_pillow(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (13, 29, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(pixels)))
    assert image.mode == ("L" if channels == 1 else "RGB")
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_other_shapes_are_no_png():
    with pytest.raises(ValueError, match=r"received pixels of shape \(4, 4, 2\); expected"):
        png(np.zeros((4, 4, 2), dtype=np.uint8))


@pytest.mark.parametrize("solver", ["dpmpp_2m", "sddim"])
def test_the_rows_are_stock_ours_and_the_fine_solution_from_the_same_noises(solver):
    grid = answer(asked(solver=solver), model(1, 6, 5)).samples
    assert grid is not None
    assert grid.rows == ["stock", "ours", "fine"]
    assert (grid.noises, grid.height, grid.width) == (NOISES, 6, 5)
    pixels = decoded(grid).astype(float)
    assert pixels.shape == (3 * 6, NOISES * 5)
    stock, ours, fine = pixels.reshape(3, 6, NOISES * 5)
    for row in (stock, ours):
        same, other = (np.corrcoef(row.ravel(), against.ravel())[0, 1] for against in (fine, np.roll(fine, 5, axis=1)))
        assert same > 0.6 > 0.3 > other, "a column is one noise"
    # Clamping and rounding to bytes aside, the picture shows the errors that the grid states.
    assert grid.errors["ours"] > 0
    assert np.sign(np.abs(stock - fine).sum() - np.abs(ours - fine).sum()) == np.sign(grid.errors["stock"] - grid.errors["ours"])


def test_the_picture_is_the_same_each_time():
    first, again = (answer(asked(), model(1, 6, 5)).samples for _ in range(2))
    assert first is not None
    assert first == again


def test_large_images_are_averaged_down(monkeypatch):
    monkeypatch.setattr("worker.tasks.samples.NOISES", 2)
    grid = answer(asked(), model(3, 3 * LARGEST, LARGEST)).samples
    assert (grid.height, grid.width) == (LARGEST, 22)
    assert decoded(grid).shape == (3 * LARGEST, 2 * 22, 3)
    assert len(grid.image) < 60_000


def test_what_is_not_an_image_is_not_drawn():
    assert answer(asked(model="spectrum"), MODEL).samples is None
    assert answer(asked(), model(4, 8, 8)).samples is None


def test_errors_are_distances_to_the_fine_solution():
    schedule = answer(asked(), model(1, 4, 4)).requested
    images = model(1, 4, 4)
    samples, errors = rows(schedule, images, Evaluator(images.denoiser, batch=64), count=16, intervals=64)
    for label, error in errors.items():
        naive = sum(float(((samples[label][n] - samples["fine"][n]) ** 2).sum()) for n in range(16)) / 16
        assert error == pytest.approx(naive, rel=1e-12)
    factor = 0.5 / np.sqrt(0.25 + RANGE["sigma_max"] ** 2)
    exact = factor * RANGE["sigma_max"] * starting_noise((1, 4, 4), range(16), seed=0, stream=Stream.FRESH)
    torch.testing.assert_close(samples["fine"], exact, rtol=5e-3, atol=5e-3)
