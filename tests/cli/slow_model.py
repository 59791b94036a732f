"""A model that takes its time, for a factory of the tests' models files."""

import time

from torch import Tensor

from tests.models.brought import Model


class Slow(Model):
    """Probed at once; then every call takes a while."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        if len(x) > 4:
            time.sleep(2.0)
        return super().denoise(x, sigma)


def slow() -> Slow:
    return Slow()
