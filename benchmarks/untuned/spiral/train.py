r"""Train the spiral's perceptron, in a minute or two of one core: `python -m benchmarks.untuned.spiral.train`.

v-prediction (Salimans, Ho 2022, https://arxiv.org/abs/2202.00512) at uniform timesteps of DDPM's linear betas, plain mean squared error:
with `s = cos phi`, `s sigma = sin phi` the network sees `cos phi x_0 + sin phi eps` and predicts `cos phi eps - sin phi x_0`. The
exponential moving average of the weights is saved.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.untuned.spiral import WEIGHTS
from benchmarks.untuned.spiral.data import spiral
from benchmarks.untuned.spiral.network import SpiralDenoiser, Velocity

_LR, _EMA = 3e-3, 0.998


def loss(net: Velocity, levels: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Error of v on points and noise drawn now, at noise levels drawn from all; a scalar."""
    x_0, eps = spiral(batch, generator), torch.randn(batch, 2, generator=generator)
    sigma = levels[torch.randint(len(levels), (batch,), generator=generator)]
    cosine, sine = (part.unsqueeze(1) for part in (sigma.atan().cos(), sigma.atan().sin()))
    return (net(cosine * x_0 + sine * eps, sigma) - (cosine * eps - sine * x_0)).square().mean()


def train(*, steps: int, batch: int, seed: int) -> Velocity:
    """Train from a seed; the learning rate falls as a cosine."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Velocity()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(_EMA))
    optimizer = torch.optim.Adam(net.parameters(), lr=_LR, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    process = SpiralDenoiser.process
    levels = torch.from_numpy(process.sigma(np.arange(process.train_timesteps))).float()
    recent: list[float] = []
    for step in range(1, steps + 1):
        value = loss(net, levels, batch, generator)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        decay.step()
        average.update_parameters(net)
        recent.append(value.item())
        if step % 1000 == 0:
            sys.stderr.write(json.dumps({"step": step, "loss": round(sum(recent) / len(recent), 4)}) + "\n")
            recent.clear()
    return cast(Velocity, average.module)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    net = train(steps=args.steps, batch=args.batch, seed=args.seed)
    save_file(net.state_dict(), args.out)


if __name__ == "__main__":
    main()
