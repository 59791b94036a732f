r"""Rough networks: what a schedule meets when training was short, or left a part of the range out.

A small perceptron on the 8 x 8 digits under EDM's preconditioning, trained in seconds from a seed, three ways:

    brief   for 300 steps, a tenth of what it takes
    top     on noise levels below 3 only: above, up to 80, the network extrapolates, and its denoising loss drifts away
    gap     on no level between 0.15 and 8:  there its loss has a hump, where an exact denoiser's would rise steadily
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.models.digits.data import digits

SIGMA_MIN, SIGMA_MAX, SIGMA_DATA = 0.01, 80.0, 0.7

_WIDTH, _FREQUENCIES, _BATCH = 192, 8, 128


@dataclass(frozen=True)
class Roughness:
    """How a network is trained.

    Attributes:
        steps: optimizer steps.
        highest: levels above are left out.
        gap: levels between these two are left out.
    """

    steps: int
    highest: float = SIGMA_MAX
    gap: tuple[float, float] | None = None


ROUGH = {
    "rough-brief": Roughness(300),
    "rough-top": Roughness(2000, highest=3.0),
    "rough-gap": Roughness(2000, gap=(0.15, 8.0)),
}


class Perceptron(nn.Module):
    """F of EDM's preconditioning for flattened images."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.time = nn.Linear(2 * _FREQUENCIES, _WIDTH)
        self.first = nn.Linear(dim, _WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in range(2))
        self.last = nn.Linear(_WIDTH, dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """F of scaled images (n, dim) at `ln(sigma) / 4`, shape (n,)."""
        angle = time.unsqueeze(1) * torch.arange(1, _FREQUENCIES + 1).to(time)
        embedding = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        h = self.first(x) + embedding
        for layer in self.hidden:
            h = h + layer(nn.functional.silu(h))
        return self.last(nn.functional.silu(h))


class RoughDenoiser:
    """D(x, sigma) of a rough network; float32."""

    dtype, device = torch.float32, torch.device("cpu")
    shape: tuple[int, ...] = (1, 8, 8)
    sigma_min, sigma_max = SIGMA_MIN, SIGMA_MAX

    def __init__(self, net: Perceptron) -> None:
        self.net = net

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean images; x of shape (n, 1, 8, 8), sigma of shape (n,)."""
        level = sigma.view(-1, 1)
        total = level.square() + SIGMA_DATA**2
        flat = x.flatten(1)
        output = self.net(flat * total.rsqrt(), sigma.log() / 4)
        return (SIGMA_DATA**2 / total * flat + level * SIGMA_DATA * total.rsqrt() * output).view_as(x)


def train(roughness: Roughness, *, seed: int = 0) -> RoughDenoiser:
    """Train one of them, in seconds."""
    images = digits()[0]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        denoiser = RoughDenoiser(Perceptron(images[0].numel()))
    optimizer = torch.optim.Adam(denoiser.net.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, roughness.steps)
    for _ in range(roughness.steps):
        x_0 = images[torch.randint(len(images), (_BATCH,), generator=generator)]
        sigma = _levels(roughness, generator)
        x = x_0 + sigma.view(-1, 1, 1, 1) * torch.randn(x_0.shape, generator=generator)
        weight = 1 / sigma.square() + 1 / SIGMA_DATA**2
        optimizer.zero_grad()
        (weight.view(-1, 1, 1, 1) * (denoiser.denoise(x, sigma) - x_0).square()).mean().backward()
        optimizer.step()
        decay.step()
    denoiser.net.eval().requires_grad_(False)
    return denoiser


def _levels(roughness: Roughness, generator: torch.Generator) -> Tensor:
    """Log-uniform noise levels of a batch, those left out drawn again."""
    low, high = math.log(SIGMA_MIN), math.log(roughness.highest)
    drawn = low + (high - low) * torch.rand(8 * _BATCH, generator=generator)
    sigma = drawn.exp()
    if roughness.gap is not None:
        sigma = sigma[(sigma < roughness.gap[0]) | (sigma > roughness.gap[1])]
    return sigma[:_BATCH]
