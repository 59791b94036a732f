"""A small denoiser of points in the plane, and its training."""

import torch
from torch import Tensor, nn

from worker.models.loaded import SampleData

SCALE = 0.5
"""Standard deviation of the data, about."""


class Network(nn.Module):
    """EDM's preconditioned denoiser (Karras et al. 2022, Table 1) around an MLP."""

    shape, dtype, device = (2,), torch.float32, torch.device("cpu")
    sigma_min, sigma_max = 0.002, 80.0

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(-2, 5))
        layers: list[nn.Module] = [nn.Linear(3 + 2 * 3 * 7, width), nn.SiLU()]
        for _ in range(3):
            layers += [nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate x_0; x of shape (batch, 2), sigma of shape (batch,)."""
        level = sigma.unsqueeze(1)
        total = (level**2 + SCALE**2).sqrt()
        seen = torch.cat([x / total, level.log() / 4], 1)
        waves = (seen.unsqueeze(2) * self.frequencies).flatten(1)
        estimate = self.layers(torch.cat([seen, waves.sin(), waves.cos()], 1))
        return (SCALE / total) ** 2 * x + level * SCALE / total * estimate


def train(data: SampleData, *, iterations: int, batch: int = 1024) -> Network:
    """Adam on EDM's loss, one cycle of the learning rate, seeded."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=iterations)
    for _ in range(iterations):
        x_0 = data(batch, generator)
        sigma = torch.exp(1.6 * torch.randn(batch, generator=generator) - 1.6)
        estimate = network.denoise(x_0 + sigma.unsqueeze(1) * torch.randn(x_0.shape, generator=generator), sigma)
        weight = (sigma**2 + SCALE**2) / (sigma * SCALE) ** 2
        loss = (weight * (estimate - x_0).square().sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return network.eval().requires_grad_(False)
