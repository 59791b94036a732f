r"""Monte-Carlo estimate of the bound around one knot: Algorithm 2 of the paper, with the normalizer that it leaves out.

For knots $l < m < h$ and a sample $x_0$ of the data, draw $t \sim \pi$ between l and h (`importance_sampling.py`), let b be the knot above
t, and

    KLUB(l, m, h)  =  Z(l, m, h)  E [ || D(x_t, t) - D(x_b, b) ||^2 / (1 / (t^2 + c^2) - 1 / (b^2 + c^2)) ]                (theory 14)

Every candidate m sees the same numbers: the same data, noises and uniforms. The path is built from above, as a Brownian bridge to
$x_0$, so $D(x_h, h)$ is evaluated once for all candidates.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import along
from worker.ays.noise import Array
from worker.ays.paper.importance_sampling import GaussianProposal
from worker.ays.paths import Stream, starting_noise
from worker.ays.solvers import Denoise

_CHUNK = 256
_TOP, _MIDDLE, _SAMPLE = 0, 1, 2


@dataclass(frozen=True)
class KlubEstimates:
    """Estimates for several candidates.

    Attributes:
        mean: the bound over both intervals, shape (r,).
        standard_error: of each, as if the uniforms were not stratified (so: at most), shape (r,).
    """

    mean: Array
    standard_error: Array


class KlubEstimator:
    """Estimates the bound (theory K), p = 0, of a first-order solver over the two intervals around a knot."""

    def __init__(self, denoise: Denoise, x_0: Tensor, *, proposal: GaussianProposal, seed: int) -> None:
        """Fix the samples; the same ones serve every candidate and every knot.

        Args:
            denoise: the model.
            x_0: samples of the data or of the model, shape (n, *shape), n >= 2.
            proposal: where noise levels are drawn.
            seed: seed of noises and uniforms.
        """
        self._denoise, self._x_0, self._proposal, self._seed = denoise, x_0, proposal, seed
        n = len(x_0)
        self._uniforms = (np.arange(n) + np.random.default_rng([seed, int(Stream.KLUB)]).uniform(size=n)) / n

    def __call__(self, low: float, mid: Array, high: float) -> KlubEstimates:
        """Estimate the bound (theory 14) for every candidate.

        Args:
            low: knot below.
            mid: candidates, low < mid < high, shape (r,).
            high: knot above.
        """
        n = len(self._x_0)
        ratios = np.concatenate([self._ratios(range(start, min(start + _CHUNK, n)), low, mid, high) for start in range(0, n, _CHUNK)], 1)
        z = self._proposal.normalizer(low, mid, high)
        return KlubEstimates(z * ratios.mean(axis=1), z * ratios.std(axis=1, ddof=1) / np.sqrt(n))

    def total(self, levels: Array) -> tuple[float, float]:
        """Bound of a whole schedule with an even number of steps, and its standard error.

        Args:
            levels: strictly decreasing, > 0, shape (2 k + 1,).
        """
        parts = [self(levels[i + 1], levels[[i]], levels[i - 1]) for i in range(1, len(levels), 2)]
        return sum(float(part.mean[0]) for part in parts), float(np.sqrt(sum(part.standard_error[0] ** 2 for part in parts)))

    def _ratios(self, chunk: range, low: float, mid: Array, high: float) -> Array:
        """Squared differences over the Gaussian's, shape (r, len(chunk))."""
        x_0 = self._x_0[chunk.start : chunk.stop].to(torch.float64)
        noise = starting_noise((3, *x_0.shape[1:]), chunk, seed=self._seed, stream=Stream.KLUB)
        t = self._proposal.sample(self._uniforms[chunk.start : chunk.stop], low, mid, high)
        lower = t < mid[:, None]
        candidate, sample = np.nonzero(lower)
        x_h = x_0 + high * noise[:, _TOP]
        upper = along(self._denoise, chunk)(x_h, torch.full((len(x_0),), high, dtype=torch.float64)).expand(len(mid), *x_0.shape).clone()
        start = x_h.expand(len(mid), *x_0.shape).clone()
        x_m = _bridge(x_0[sample], x_h[sample], noise[sample, _MIDDLE], mid[candidate], np.full(len(sample), high))
        if len(sample):
            of_sample = along(self._denoise, [chunk[i] for i in sample])
            upper[candidate, sample] = of_sample(x_m, torch.from_numpy(mid[candidate]))
            start[candidate, sample] = x_m
        above = np.where(lower, mid[:, None], high)
        x_t = _bridge(x_0, start, noise[:, _SAMPLE], t, above)
        estimate = along(self._denoise, chunk)(x_t.flatten(0, 1), torch.from_numpy(t.reshape(-1)))
        difference = estimate.reshape(upper.shape) - upper
        return difference.flatten(2).square().sum(2).numpy() / self._proposal.gain(t, above)


def _bridge(x_0: Tensor, x_b: Tensor, noise: Tensor, level: Array, above: Array) -> Tensor:
    """State at `level` of the forward path from x_0 that is at x_b at level `above`: a Brownian bridge in sigma^2."""
    share = torch.from_numpy((level / above) ** 2)
    share = share.reshape(*share.shape, *[1] * (x_b.ndim - share.ndim))
    sigma = torch.from_numpy(level).reshape(share.shape)
    return x_0 + share * (x_b - x_0) + sigma * (1 - share).clamp(min=0).sqrt() * noise
