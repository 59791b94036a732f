"""Is the bundled fashion model any good? `python -m benchmarks.fashion --data FOLDER --grid OUT.png`: samples and Frechet distances.

Trains the classifier whose features judge the model (and stores it, with the moments of the held-out images, for `make bench`), then
compares 1,000 samples of the model, and 1,000 held-out images, with 5,000 other held-out images: in raw pixels and in the features.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from benchmarks.classifier import stored_judge, train_judge
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream, starting_noise
from worker.ays.schedule import edm
from worker.ays.solvers import SOLVERS, sample
from worker.models.fashion.data import SIZE, fashion
from worker.models.frechet import frechet_distance
from worker.models.registry import Registry

_EPOCHS, _STEPS, _CHUNK, _OTHERS = 4, 24, 250, 5000


def fine_samples(count: int) -> Tensor:
    """Samples of the bundled model, `dpmpp_2m` on 24 levels of EDM, shape (count, 1, 28, 28)."""
    model = Registry(None).load("fashion")
    denoise = Evaluator(model.denoiser, batch=_CHUNK)
    levels = edm(_STEPS, sigma_max=model.process.sigma_max, sigma_min=model.process.sigma_min, terminal="zero")
    parts = []
    for start in range(0, count, _CHUNK):
        noise = starting_noise(denoise.shape, range(start, min(start + _CHUNK, count)), seed=0, stream=Stream.FRESH)
        parts.append(sample(SOLVERS["dpmpp_2m"], denoise, levels, noise).float())
    return torch.cat(parts).clamp(-1, 1)


def grid(samples: Tensor, *, rows: int = 8, columns: int = 16) -> Tensor:
    """One picture of many images, ink dark, twice their size."""
    spaced = torch.nn.functional.pad(samples[: rows * columns], (1, 1, 1, 1), value=-1.0)
    side = SIZE + 2
    joined = spaced.reshape(rows, columns, side, side).permute(0, 2, 1, 3).reshape(rows * side, columns * side)
    return joined.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)


def main() -> None:
    """Train the judge, draw samples, write the picture and print the distances."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of fashion_mnist_train.npz and fashion_mnist_test.npz")
    parser.add_argument("--grid", type=Path, default=Path("docs/images/fashion-grid.png"))
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--judge", action="store_true", help="train the classifier again and store it")
    args = parser.parse_args()
    held_out = fashion(args.data, "test")
    if args.judge:
        train = fashion(args.data, "train")
        train_judge(train.images, train.labels, held_out.images, epochs=_EPOCHS).save("fashion")
    judge = stored_judge("fashion", SIZE)
    mixed = held_out.images[torch.randperm(len(held_out.images), generator=torch.Generator().manual_seed(0))]  # they come class by class
    half, other = mixed[: args.samples], mixed[-_OTHERS:]
    samples = fine_samples(args.samples)
    plt.imsave(args.grid, grid(samples).numpy(), cmap="gray_r", vmin=-1, vmax=1)
    body = {
        "accuracy": judge.accuracy(held_out.images, held_out.labels),
        "pixels": {"samples": frechet_distance(samples, other), "real": frechet_distance(half, other)},
        "features": {
            "samples": frechet_distance(judge.features(samples), judge.features(other)),
            "real": frechet_distance(judge.features(half), judge.features(other)),
        },
    }
    sys.stdout.write(json.dumps(body) + "\n")


if __name__ == "__main__":
    main()
