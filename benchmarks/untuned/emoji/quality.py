"""Samples of an emoji network beside real images: `python -m benchmarks.untuned.emoji.quality --data noto_emoji_32.npz --grid GRID.png`.

Frechet distance in pixels averaged to 8 x 8, and energy distance in all pixels, of fine samples to the held-out images; beside them
those of as many training images, which is what perfect samples would reach.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.untuned.emoji import pipeline_folder
from benchmarks.untuned.emoji.data import HELD_OUT, HELD_OUT_SHEET, emoji, pooled, save_sheet
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream, starting_noise
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, sample
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.frechet import frechet_distance
from worker.models.hub import Hub

_STEPS, _HIGHEST, _LOWEST = 32, 80.0, 0.01


def fine_samples(folder: Path, count: int) -> Tensor:
    """Samples of the network in a folder, 32 steps of DPM-Solver++(2M) on EDM's levels from 80 to 0.01; shape (count, 3, size, size)."""
    denoise = Evaluator(load_diffusers(DiffusersEntry(id="emoji", title="emoji", source=folder), Hub(allowed=False)).denoiser, batch=64)
    levels = edm(_STEPS, sigma_max=_HIGHEST, sigma_min=_LOWEST, terminal="zero")
    return sample(SOLVERS["dpmpp_2m"], denoise, levels, starting_noise(denoise.shape, range(count), seed=0, stream=Stream.FRESH)).float()


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Energy distance of two sets, unbiased: `2 E|x - y| - E|x - x'| - E|y - y'|` (Szekely, Rizzo 2013); each of shape (n, *shape)."""
    x, y = x.flatten(1).double(), y.flatten(1).double()

    def within(z: Tensor) -> Tensor:
        return torch.cdist(z, z).sum() / (len(z) * (len(z) - 1))

    return float(2 * torch.cdist(x, y).mean() - within(x) - within(y))


def distances(samples: Tensor, real: Tensor) -> dict[str, float]:
    """Both distances of two sets of images."""
    found = {"frechet": frechet_distance(pooled_to_8(samples), pooled_to_8(real)), "energy": energy_distance(samples, real)}
    return {name: round(value, 3) for name, value in found.items()}


def pooled_to_8(images: Tensor) -> Tensor:
    """Images of shape (n, 3, size, size), averaged to 8 x 8."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 8)


def main() -> None:
    """Print the distances; write the grid, and the sheet of held-out images that the tests read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the archive of images")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--pipeline", type=Path, help="default: where training saves it")
    parser.add_argument("--count", type=int, default=HELD_OUT)
    parser.add_argument("--grid", type=Path, required=True, help="PNG of the first hundred samples to write")
    args = parser.parse_args()
    train, held_out = (pooled(images, args.size) for images in emoji(args.data))
    if args.size == 16:
        save_sheet(held_out, HELD_OUT_SHEET)
    samples = fine_samples(args.pipeline or pipeline_folder(args.size), args.count)
    save_sheet(samples[:100], args.grid)
    told = {"samples": distances(samples, held_out), "training images": distances(train[: args.count], held_out)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
