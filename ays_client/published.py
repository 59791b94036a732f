"""The four tables that Align Your Steps published (Sabour, Fidler, Kreis 2024, https://arxiv.org/abs/2404.14507, Appendix).

Ten steps each, found by the stochastic-DDIM bound at the default guidance, and used with every solver since. For the discrete models the
timesteps are the truth, the levels follow from the betas (the paper's printed levels are rounded by up to 1.4 %); Stable Video
Diffusion is continuous, there the levels are the truth. Two readings of the end are in use: NVIDIA's, which stops at the last level,
and that of diffusers and ComfyUI, which replaces it by 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ays_client.contract import Terminal
from ays_client.stock import resample, times_between, times_of_kind

STEPS = 10
"""Steps of every published table; other numbers are interpolated."""


@dataclass(frozen=True)
class Table:
    """A published schedule.

    Attributes:
        title: the model, one line.
        kind: the model's noise process.
        prediction_type: what its network predicts.
        betas: rule of its betas; None for a continuous model.
        timesteps: the published timesteps, 11 of them; None for a continuous model.
        sigmas: the published levels of a continuous model.
    """

    title: str
    kind: Literal["vp", "edm"]
    prediction_type: str
    betas: Literal["scaled_linear", "cosine"] | None = None
    timesteps: tuple[int, ...] | None = None
    sigmas: tuple[float, ...] | None = None

    @property
    def levels(self) -> list[float]:
        """All 11 levels, strictly decreasing, the last one the model's lowest."""
        if self.sigmas is not None:
            return list(self.sigmas)
        table = _sigmas(self.betas)
        return [table[timestep] for timestep in self.timesteps or ()]

    def schedule(self, steps: int, terminal: Terminal) -> list[float]:
        """The table for a number of steps: as published for 10, else log-linearly interpolated (NVIDIA's recipe).

        Args:
            steps: number of steps, at least 2.
            terminal: whether the last level is 0 or the table's last.

        Returns:
            `steps + 1` levels.
        """
        levels = self.levels if steps == STEPS else resample(self.levels, steps)
        return [*levels[:-1], 0.0] if terminal is Terminal.ZERO else levels

    def times(self, sigmas: Sequence[float]) -> list[float]:
        """Native times of positive levels."""
        known = times_of_kind(self.kind, sigmas)
        return times_between([(sigma, index) for index, sigma in enumerate(_sigmas(self.betas))], sigmas) if known is None else known


PUBLISHED = {
    "stable-diffusion-1.5": Table(
        title="Stable Diffusion 1.5",
        kind="vp",
        prediction_type="epsilon",
        betas="scaled_linear",
        timesteps=(999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0),
    ),
    "stable-diffusion-xl": Table(
        title="Stable Diffusion XL",
        kind="vp",
        prediction_type="epsilon",
        betas="scaled_linear",
        timesteps=(999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0),
    ),
    "deepfloyd-if": Table(
        title="DeepFloyd IF, stage 1",
        kind="vp",
        prediction_type="epsilon",
        betas="cosine",
        timesteps=(995, 920, 811, 686, 555, 418, 315, 174, 109, 12, 0),
    ),
    "stable-video-diffusion": Table(
        title="Stable Video Diffusion",
        kind="edm",
        prediction_type="v_prediction",
        sigmas=(700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
    ),
}
"""The published tables by the id of their model."""


@cache
def _sigmas(betas: str | None) -> list[float]:
    """Noise level of each of 1,000 timesteps."""
    signal, found = 1.0, []
    for index in range(1000):
        signal *= 1.0 - (_scaled_linear(index) if betas == "scaled_linear" else _cosine(index))
        found.append(math.sqrt((1.0 - signal) / signal))
    return found


def _scaled_linear(index: int) -> float:
    """Betas of Stable Diffusion: even in their square root from 0.00085 to 0.012."""
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    return (low + (high - low) * index / 999) ** 2


def _cosine(index: int) -> float:
    """Betas of Nichol and Dhariwal 2021: the signal is a squared cosine, a beta at most 0.999."""

    def signal(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    return min(1.0 - signal((index + 1) / 1000) / signal(index / 1000), 0.999)
