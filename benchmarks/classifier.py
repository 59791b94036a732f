"""A small classifier whose features judge samples: Frechet distances in pixels hardly see shape, its 32 features do.

For the digits it is trained on the fly, in seconds. The images of Fashion-MNIST are no part of the repository, so there its weights and
the moments of the held-out images' features are stored beside this file, as made by `python -m benchmarks.fashion --data FOLDER`.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worker.models.frechet import Moments

FEATURES = 32

STORED = Path(__file__).parent / "features"


@dataclass(frozen=True)
class Judge:
    """Features with the moments that real images have in them.

    Attributes:
        net: classifier; all but its last layer are the features.
        real: moments of the features of held-out images.
    """

    net: nn.Sequential
    real: Moments

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Features of images of shape (n, channels, height, width), shape (n, 32) of a classifier's."""
        return torch.cat([self.net[:-1](part) for part in images.float().split(512)])

    @torch.inference_mode()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of images that the classifier gets right."""
        right = [(self.net(part).argmax(1) == truth).sum() for part, truth in zip(images.split(512), labels.split(512), strict=True)]
        return float(sum(right)) / len(labels)

    def save(self, name: str) -> None:
        """Store weights and moments."""
        STORED.mkdir(exist_ok=True)
        moments = {"real.mean": self.real.mean, "real.covariance": self.real.covariance}
        save_file({**{f"net.{key}": value for key, value in self.net.state_dict().items()}, **moments}, STORED / f"{name}.safetensors")


def classifier(size: int) -> nn.Sequential:
    """Untrained network for images of `size` x `size`, values in [-1, 1]."""
    stride = 2 if size > 16 else 1
    side = -(-size // stride) // 4
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=stride, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * side * side, FEATURES),
        nn.Tanh(),
        nn.Linear(FEATURES, 10),
    )


def train_judge(images: Tensor, labels: Tensor, held_out: Tensor, *, epochs: int, seed: int = 0) -> Judge:
    """Train a classifier and measure the held-out images in its features.

    Args:
        images: training images, shape (n, 1, size, size).
        labels: their classes, shape (n,).
        held_out: images of the moments, shape (m, 1, size, size).
        epochs: passes over the training images.
        seed: seed of weights and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = classifier(images.shape[-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    steps = epochs * -(-len(images) // 128)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = torch.randint(len(images), (128,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
        decay.step()
    judge = Judge(net.eval().requires_grad_(False), Moments(torch.empty(0), torch.empty(0)))
    return Judge(judge.net, Moments.of(judge.features(held_out)))


def pixel_judge(held_out: Tensor, *, side: int) -> Judge:
    """A judge without a classifier: its features are the pixels of images (n, channels, size, size), averaged to `side` x `side`."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Identity())
    judge = Judge(net, Moments(torch.empty(0), torch.empty(0)))
    return Judge(net, Moments.of(judge.features(held_out)))


def stored_judge(name: str, size: int) -> Judge:
    """Load what `Judge.save` stored."""
    tensors = load_file(STORED / f"{name}.safetensors")
    net = classifier(size)
    net.load_state_dict({key.removeprefix("net."): value for key, value in tensors.items() if key.startswith("net.")})
    return Judge(net.eval().requires_grad_(False), Moments(tensors["real.mean"], tensors["real.covariance"]))
