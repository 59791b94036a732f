r"""Train an emoji network: `python -m benchmarks.untuned.emoji.train --data noto_emoji_32.npz --size 16`.

A `UNet2DModel` F predicts the velocity of rectified flow (Liu et al. 2023, https://arxiv.org/abs/2209.03003; Lipman et al. 2023,
https://arxiv.org/abs/2210.02747)

    x_t = (1 - t) x_0 + t eps,    loss  ||F(x_t, t) - (eps - x_0)||^2,    D = x_t - t F,

at stratified times: `ln(t / (1 - t))` is normal, a seventh of the times uniform in it over the whole range, so that its ends are
trained as well. `--size 16` is a small network for an hour of one core, `--size 32` a larger one for minutes of a GPU. The learning rate
rises, stays, and falls linearly over the last 30 % of the steps; a checkpoint that is there is resumed. The exponential moving average
of the weights is what is saved, in half precision.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DModel
from torch import Tensor

from benchmarks.untuned.emoji import pipeline_folder
from benchmarks.untuned.emoji.data import augmented, emoji, pooled
from worker.ays.noise import Flow

CHANNELS = {16: (24, 48, 96), 32: (64, 128, 192)}
"""Channels of the resolutions by image size: 1.4 and 9.5 million parameters."""

_LOG_MEAN, _LOG_STD, _UNIFORM = -0.3, 1.3, 0.15
_WARMUP, _DECAY, _EMA = 200, 0.3, 0.999


def unet(size: int) -> UNet2DModel:
    """Build the untrained network: three resolutions, no attention; its time is t in [0, 1]."""
    channels = CHANNELS[size]
    return UNet2DModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        layers_per_block=1 if size == 16 else 2,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        # The embedding's frequencies are 10,000^(-i / (half - shift)): this shift makes them rise from 1 to about 50, for times up to 1.
        freq_shift=round(1.6 * channels[0]),
        norm_num_groups=8,
        add_attention=False,
    )


def times(count: int, generator: torch.Generator) -> Tensor:
    """Draw stratified times, shape (count,), on the generator's device."""
    device, process = generator.device, Flow()
    strata = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    low, high = math.log(process.sigma_min), math.log(process.sigma_max)
    normal = _LOG_MEAN + _LOG_STD * torch.special.ndtri((strata - _UNIFORM).clamp(1e-4) / (1 - _UNIFORM))
    return torch.where(strata < _UNIFORM, low + (high - low) * strata / _UNIFORM, normal.clamp(low, high)).sigmoid()


def loss(net: Callable[[Tensor, Tensor], Any], x_0: Tensor, generator: torch.Generator) -> Tensor:
    """Error of the velocity on one batch.

    Args:
        net: the network F.
        x_0: clean images, shape (batch, 3, size, size).
        generator: source of the times and the noise, on the device of `x_0`.

    Returns:
        A scalar.
    """
    t = times(len(x_0), generator)
    eps = torch.randn(x_0.shape, generator=generator, device=generator.device)
    x_t = torch.lerp(x_0, eps, t.view(-1, 1, 1, 1))
    # Half precision pays on tensor cores alone.
    with torch.autocast(x_0.device.type, torch.bfloat16, enabled=x_0.is_cuda):
        velocity: Tensor = net(x_t, t).sample
    return (velocity.float() - (eps - x_0)).square().mean()


class Training:
    """Network, its average and the optimizer: everything a checkpoint holds."""

    def __init__(self, images: Tensor, *, size: int, batch: int, lr: float, seed: int, compiled: bool = False) -> None:
        """Start from random weights.

        Args:
            images: the training images, shape (n, 3, 32, 32); the training runs on their device.
            size: of the images that the network sees.
            batch: images a step.
            lr: the learning rate at its height.
            seed: of weights, batches and noise; step k draws from (seed, k), so that a resumed run goes on as if never stopped.
            compiled: whether the network is compiled first.
        """
        torch.manual_seed(seed)
        self._images, self._size, self._batch, self._lr, self._seed = images, size, batch, lr, seed
        self.net, self.average = unet(size).to(images.device), unet(size).to(images.device)
        self.average.load_state_dict(self.net.state_dict())
        self._network = torch.compile(self.net) if compiled else self.net
        self._optimizer = torch.optim.Adam(self.net.parameters(), lr=lr, betas=(0.9, 0.99), fused=True)
        self.done = 0

    def step(self, steps: int) -> Tensor:
        """Take the next of `steps` steps and return its loss, a scalar still on the device."""
        generator = torch.Generator(self._images.device).manual_seed(self._seed << 32 | self.done)
        index = torch.randint(len(self._images), (self._batch,), generator=generator, device=generator.device)
        x_0 = pooled(augmented(self._images[index], generator), self._size)
        rise, fall = (self.done + 1) / _WARMUP, (steps - self.done) / (_DECAY * steps)
        self._optimizer.param_groups[0]["lr"] = self._lr * min(1.0, rise, fall)
        value = loss(self._network, x_0, generator)
        self._optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimizer.step()
        self.done += 1
        keep = min(_EMA, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - keep)
        return value.detach()

    def save(self, path: Path) -> None:
        """Write a checkpoint; the file is replaced whole."""
        parts = {"net": self.net, "average": self.average, "optimizer": self._optimizer}
        torch.save({"done": self.done, **{name: part.state_dict() for name, part in parts.items()}}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was written."""
        saved = torch.load(path, map_location=self._images.device, weights_only=True)
        self.done = saved["done"]
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        self._optimizer.load_state_dict(saved["optimizer"])


def save_pipeline(net: UNet2DModel, folder: Path) -> None:
    """Save the network in half precision, and its scheduler, in the subfolders of a diffusers pipeline; `net` becomes half, too."""
    net.half().save_pretrained(folder / "unet", safe_serialization=True)
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the archive of images")
    parser.add_argument("--size", type=int, choices=sorted(CHANNELS), default=16)
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="compile the network first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, help="default: out/emoji-SIZE.pt")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--out", type=Path, help="default: where the benchmarks look for it")
    return parser.parse_args()


def _run(training: Training, steps: int, *, checkpoint: Path, every: int) -> None:
    """Take the steps that are left; write a checkpoint and a line of JSON every so many."""
    started, cpu = time.monotonic(), time.process_time()
    losses: list[Tensor] = []  # read only when they are told: reading one waits for its step
    while training.done < steps:
        losses.append(training.step(steps))
        if training.done % every == 0 or training.done == steps:
            training.save(checkpoint)
            told = {"step": training.done, "loss": round(float(torch.stack(losses).mean()), 4)}
            told |= {"seconds": round(time.monotonic() - started), "cpu_seconds": round(time.process_time() - cpu)}
            sys.stderr.write(json.dumps(told) + "\n")
            sys.stderr.flush()
            losses.clear()


def main() -> None:
    """Train from the command line."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    images = emoji(args.data)[0].to(args.device)
    training = Training(images, size=args.size, batch=args.batch, lr=args.lr, seed=args.seed, compiled=args.compile)
    checkpoint = args.checkpoint or Path(f"out/emoji-{args.size}.pt")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        training.resume(checkpoint)
    _run(training, args.steps, checkpoint=checkpoint, every=args.every)
    save_pipeline(training.average, args.out or pipeline_folder(args.size))


if __name__ == "__main__":
    main()
