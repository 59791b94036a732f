r"""Train the bundled fashion model: `python -m worker.models.fashion.train --data FOLDER --out FOLDER`.

A `UNet2DModel` F under EDM's preconditioning (Karras et al. 2022, https://arxiv.org/abs/2206.00364, Table 1)

    D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4),    loss  lambda ||D - x_0||^2  with  lambda c_out^2 = 1.

Noise levels are log-normal, a tenth of them log-uniform over the whole range, so that its ends are trained as well; the levels of a batch
are stratified. The learning rate rises, stays, and falls linearly over the last 30 % of the steps: until then a run does not depend on
its length, so a resumed one may be given another. What is saved is the exponential moving average of the weights.

A step is drawn and taken where the images lie, and nothing waits for its result. A GPU draws other numbers than a processor, and rounds
some sums as their order happens to be, so there a resumed run is the same but for rounding.
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
from diffusers import EDMEulerScheduler, UNet2DModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from worker.models.fashion import PIPELINE
from worker.models.fashion.data import SIZE, fashion

SIGMA_MIN, SIGMA_MAX, SIGMA_DATA = 0.002, 80.0, 0.7
"""Range of noise levels, and the standard deviation of the pixels."""

_LOG_MEAN, _LOG_STD, _UNIFORM = -0.9, 1.3, 0.1
_WARMUP, _DECAY = 300, 0.3
_BATCH_SEED = 1


def unet() -> UNet2DModel:
    """Build the untrained network: 1.3 million parameters, three resolutions, no attention."""
    return UNet2DModel(
        sample_size=SIZE,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 48, 96),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=8,
        add_attention=False,
    )


def scheduler() -> EDMEulerScheduler:
    """Build the scheduler that carries the preconditioning and the range."""
    return EDMEulerScheduler(sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, sigma_data=SIGMA_DATA)


def noise_levels(count: int, generator: torch.Generator) -> Tensor:
    """Draw stratified noise levels, shape (count,), on the generator's device."""
    device = generator.device
    strata = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    uniform = strata < _UNIFORM
    low, high = math.log(SIGMA_MIN), math.log(SIGMA_MAX)
    normal = _LOG_MEAN + _LOG_STD * torch.special.ndtri((strata - _UNIFORM).clamp(1e-4) / (1 - _UNIFORM))
    return torch.where(uniform, low + (high - low) * strata / _UNIFORM, normal.clamp(low, high)).exp()


def loss(net: Callable[[Tensor, Tensor], Any], x_0: Tensor, generator: torch.Generator) -> Tensor:
    """Loss of one batch: the error of F, since lambda c_out^2 = 1.

    Args:
        net: the network F, a `UNet2DModel` or what `torch.compile` made of it.
        x_0: clean images, shape (batch, 1, 28, 28).
        generator: source of the levels and the noise, on the device of `x_0`.

    Returns:
        A scalar.
    """
    sigma = noise_levels(len(x_0), generator)
    level = sigma.view(-1, 1, 1, 1)
    x = x_0 + level * torch.randn(x_0.shape, generator=generator, device=generator.device)
    total = level.square() + SIGMA_DATA**2
    target = (x_0 - SIGMA_DATA**2 / total * x) * total.sqrt() / (level * SIGMA_DATA)
    with torch.autocast(x_0.device.type, torch.bfloat16):
        output: Tensor = net(x * total.rsqrt(), sigma.log() / 4).sample
    return (output.float() - target).square().mean()


class Training:
    """Network, its average and the optimizer: everything a checkpoint holds."""

    def __init__(self, images: Tensor, *, batch: int, lr: float, seed: int, ema: float = 0.999, compiled: bool = False) -> None:
        """Start from random weights.

        Args:
            images: the training images, shape (n, 1, 28, 28); the training runs on their device.
            batch: images a step.
            lr: the learning rate at its height.
            seed: seed of weights, batches and noise; step k draws from (seed, k), so that a resumed run goes on as if never stopped.
            ema: share of the average that a step keeps, once it has seen enough of them.
            compiled: whether the network is compiled first; a checkpoint is the same either way.
        """
        torch.manual_seed(seed)
        self._images, self._batch, self._lr, self._seed, self._ema = images, batch, lr, seed, ema
        self.net, self.average = unet().to(images.device), unet().to(images.device)
        self.average.load_state_dict(self.net.state_dict())
        # Channels last, as tensor cores read: the compiler's own guess is against it where a convolution halves its channels.
        self._network = torch.compile(self.net, options={"force_layout_optimization": True}) if compiled else self.net
        self._weights, self._averages = list(self.net.parameters()), list(self.average.parameters())
        self._optimizer = torch.optim.Adam(self._weights, lr=lr, betas=(0.9, 0.99), fused=True)
        self.done = 0

    def step(self, steps: int) -> Tensor:
        """Take the next of `steps` steps and return its loss, a scalar still on the device."""
        generator = torch.Generator(self._images.device).manual_seed(self._seed << 32 | self.done << 1 | _BATCH_SEED)
        x_0 = self._images[torch.randint(len(self._images), (self._batch,), generator=generator, device=generator.device)]
        rise, fall = (self.done + 1) / _WARMUP, (steps - self.done) / (_DECAY * steps)
        self._optimizer.param_groups[0]["lr"] = self._lr * min(1.0, rise, fall)
        value = loss(self._network, x_0, generator)
        self._optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step()
        self.done += 1
        keep = min(self._ema, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1 - keep)
        return value.detach()

    def save(self, path: Path) -> None:
        """Write a checkpoint, safetensors; the file is replaced whole."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            tensors |= {f"adam.{name}.{key}": value for key, value in self._optimizer.state[parameter].items()}
        save_file(tensors, path.with_suffix(".new"), metadata={"done": str(self.done)})
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was written."""
        with safe_open(path, framework="pt") as file:
            self.done = int(file.metadata()["done"])
            tensors = {name: file.get_tensor(name).to(self._images.device) for name in file.keys()}  # noqa: SIM118
        for prefix, net in (("net.", self.net), ("average.", self.average)):
            net.load_state_dict({name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)})
        for name, parameter in self.net.named_parameters():
            self._optimizer.state[parameter] = {key: tensors[f"adam.{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}


def save_pipeline(net: UNet2DModel, folder: Path) -> None:
    """Save network and scheduler in the subfolders of a diffusers pipeline; there is no index, as no pipeline of diffusers runs them.

    Of its unconditional pipelines none scales the network's input, which EDM needs; the loop of six lines stands in docs/fashion.md.
    """
    net.save_pretrained(folder / "unet", safe_serialization=True)
    scheduler().save_pretrained(folder / "scheduler")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of fashion_mnist_train.npz")
    parser.add_argument("--steps", type=int, default=9_500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--ema", type=float, default=0.999, help="share of the average of the weights that a step keeps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="compile the network first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, default=Path("out/fashion.safetensors"))
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--out", type=Path, default=PIPELINE)
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
    """Train from the command line; a checkpoint that is there is resumed."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    images = fashion(args.data, "train").images.to(args.device)
    training = Training(images, batch=args.batch, lr=args.lr, seed=args.seed, ema=args.ema, compiled=args.compile)
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if args.checkpoint.exists():
        training.resume(args.checkpoint)
    _run(training, args.steps, checkpoint=args.checkpoint, every=args.every)
    save_pipeline(training.average, args.out)


if __name__ == "__main__":
    main()
