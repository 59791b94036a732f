"""Is the bundled model any good? `python -m worker.models.digits.quality OUT.png`: a grid of samples and a Frechet distance.

The Frechet distance is in raw pixels, between 500 samples and the 500 held-out digits; beside it the same between 500 training digits
and the held-out ones, which is what perfect samples would reach.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample
from worker.models.digits.data import HELD_OUT, digits
from worker.models.frechet import frechet_distance
from worker.models.registry import Registry


def fine_samples(count: int, *, seed: int = 0, steps: int = 64) -> Tensor:
    """Samples of the bundled model, solved finely, shape (count, 1, 8, 8)."""
    model = Registry(None).load("digits")
    denoise = Evaluator(model.denoiser, batch=512)
    levels = torch.tensor([*log_grid(model.process.sigma_max, model.process.sigma_min, steps), 0.0]).double().numpy()
    return sample(SOLVERS["dpmpp_2m"], denoise, levels, starting_noise(denoise.shape, range(count), seed=seed, stream=Stream.FRESH))


def report(samples: Tensor) -> dict[str, float]:
    """Frechet distance to held-out digits of the samples, and of as many training digits."""
    train, held_out = digits()
    halves = [
        frechet_distance(train[torch.randperm(len(train), generator=torch.Generator().manual_seed(k))[:HELD_OUT]], held_out)
        for k in range(5)
    ]
    ours = [frechet_distance(part, held_out) for part in samples.split(HELD_OUT) if len(part) == HELD_OUT]
    return {"samples": sum(ours) / len(ours), "real": sum(halves) / len(halves)}


def main() -> None:
    """Write the grid and print the distances."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="PNG to write")
    args = parser.parse_args()
    samples = fine_samples(4 * HELD_OUT)
    spaced = torch.nn.functional.pad(samples[:160], (1, 1, 1, 1), value=-1.0)
    grid = spaced.reshape(8, 20, 10, 10).permute(0, 2, 1, 3).reshape(80, 200)
    plt.imsave(args.out, grid.clamp(-1, 1).numpy().repeat(6, axis=0).repeat(6, axis=1), cmap="gray_r")
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in report(samples).items()}) + "\n")


if __name__ == "__main__":
    main()
