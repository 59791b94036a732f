"""Train the bundled digits model: `python -m worker.models.digits.train`.

A `UNet2DModel` predicts epsilon on a linear beta schedule (DDPM: Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239), which ends at
0.015 instead of 0.02: a network cannot be accurate in `x - sigma eps` at sigma = 157, and 8 x 8 images need no more than 40.
The loss weight `1 + min(sigma, 20)^2` on the epsilon error keeps the implied denoiser `x - sigma eps` accurate at high noise,
where an unweighted epsilon loss hardly constrains it (the weighting of EDM, Karras et al. 2022, https://arxiv.org/abs/2206.00364,
capped). The exponential moving average of the weights is what is saved.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from worker.models.digits import PIPELINE
from worker.models.digits.data import digits

WEIGHT_CAP = 20.0
"""Largest sigma that enters the loss weight; above it the weight stays constant."""

EMA_DECAY = 0.9995


def unet() -> UNet2DModel:
    """Build the untrained network: 0.36 million parameters, two resolutions, no attention."""
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(24, 48),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        add_attention=False,
        dropout=0.1,
    )


def scheduler() -> DDPMScheduler:
    """Build the noise schedule: 1,000 steps, linear betas from 1e-4 to 0.015, sigma from 0.01 to 44, no clipping."""
    return DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.015, beta_schedule="linear", clip_sample=False)


def loss(net: UNet2DModel, x_0: Tensor, alphas_cumprod: Tensor, generator: torch.Generator) -> Tensor:
    """Weighted epsilon loss of one batch.

    Args:
        net: the network.
        x_0: clean images, shape (batch, 1, 8, 8).
        alphas_cumprod: cumulative product of 1 - beta, shape (1000,).
        generator: source of the timesteps and the noise.

    Returns:
        A scalar.
    """
    t = torch.randint(len(alphas_cumprod), (len(x_0),), generator=generator)
    abar = alphas_cumprod[t].view(-1, 1, 1, 1)
    eps = torch.randn(x_0.shape, generator=generator)
    x_t = abar.sqrt() * x_0 + (1 - abar).sqrt() * eps
    weight = 1 + ((1 - abar) / abar).clamp(max=WEIGHT_CAP**2)
    return (weight * (net(x_t, t).sample - eps).square()).mean()


def train(*, steps: int, batch: int, lr: float, seed: int) -> UNet2DModel:
    """Train and return the averaged network.

    Args:
        steps: optimizer steps.
        batch: images a step.
        lr: peak learning rate; it rises over the first 500 steps and falls to zero on a cosine.
        seed: seed of the initial weights, the batches and the noise.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, _ = digits()
    net = unet()
    net.train()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True)
    abar = scheduler().alphas_cumprod
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-3, fused=True)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.02, total_iters=500)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps - 500))
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[500])
    start, running = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        x_0 = images[torch.randint(len(images), (batch,), generator=generator)]
        value = loss(net, x_0, abar, generator)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
        running += value.item()
        if step % 500 == 0:
            sys.stderr.write(f"step {step}/{steps}  loss {running / 500:.4f}  {time.monotonic() - start:.0f} s\n")
            sys.stderr.flush()
            running = 0.0
    return average.module


def main() -> None:
    """Train from the command line and save a diffusers folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=PIPELINE)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    net = train(steps=args.steps, batch=args.batch, lr=args.lr, seed=args.seed)
    DDPMPipeline(unet=net.eval(), scheduler=scheduler()).save_pretrained(args.out, safe_serialization=True)
    sys.stderr.write(f"saved {args.out}\n")


if __name__ == "__main__":
    main()
