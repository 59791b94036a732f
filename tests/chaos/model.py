"""The model of the campaign: cheap, exact, and each of its evaluations of a profile takes a moment."""

import time

from torch import Tensor

from worker.ays.analytic import Gaussian

SECONDS = 0.004
"""Time that a call takes; it sleeps, so that many workers fit on a core."""


class Slow(Gaussian):
    """Normal data of standard deviation 1/2 in three dimensions."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        time.sleep(SECONDS)
        return super().denoise(x, sigma)


def slow() -> Slow:
    return Slow(0.5, dim=3, sigma_min=0.01, sigma_max=50.0)
