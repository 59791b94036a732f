r"""Data distributions whose exact denoiser is known: the oracles of the tests and the problems of the benchmarks.

For data law $p$ the exact denoiser is $D(x, \sigma) = E[x_0 | x] = x + \sigma^2 \nabla \log (p * N(0, \sigma^2 I))(x)$ (theory 2).
Every class offers samples, the density of the noised law and the mean squared error `mmse(sigma) = E ||x_0 - D||^2`.
"""

import math

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array

_LOG_2PI = math.log(2 * math.pi)


class AnisotropicGaussian:
    """Data `N(0, diag(variances))`, e.g. with the power-law spectrum of images; float64."""

    dtype = torch.float64
    device = torch.device("cpu")

    def __init__(self, variances: Tensor, *, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        """Fix the law.

        Args:
            variances: shape (dim,), each > 0.
            sigma_min: lowest noise level offered.
            sigma_max: highest noise level offered.
        """
        self.variances = variances.to(torch.float64)
        self.shape: tuple[int, ...] = (len(variances),)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Exact denoiser (theory 2): `v / (v + sigma^2) x` in each coordinate; x of shape (batch, dim), sigma of shape (batch,)."""
        return x * (self.variances / (self.variances + sigma.unsqueeze(1) ** 2)).to(x)

    def sample_data(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw data, shape (n, dim)."""
        return torch.randn(n, *self.shape, generator=generator, dtype=torch.float64) * self.variances.sqrt()

    def log_density(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Log-density of the law noised to `sigma`, at x of shape (batch, dim); shape (batch,)."""
        total = self.variances + sigma**2
        return -0.5 * (x.square() / total + total.log() + _LOG_2PI).sum(1)

    def mmse(self, sigma: float) -> float:
        """`sum_k v_k sigma^2 / (v_k + sigma^2)`."""
        return float((self.variances * sigma**2 / (self.variances + sigma**2)).sum())

    def flow(self, x: Tensor, start: float, end: float) -> Tensor:
        """Exact solution of the probability-flow ODE from noise level `start` to `end`; x of shape (batch, dim)."""
        return x * ((self.variances + end**2) / (self.variances + start**2)).sqrt()


class Gaussian(AnisotropicGaussian):
    """Data `N(0, c^2 I)` in `dim` dimensions: the paper's case study (Sabour et al. 2024, Section 3.1)."""

    def __init__(self, c: float, dim: int = 1, *, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        """Fix the standard deviation `c > 0` and the dimension."""
        super().__init__(torch.full((dim,), c**2, dtype=torch.float64), sigma_min=sigma_min, sigma_max=sigma_max)
        self.c = c

    def klub(self, levels: Array) -> float:
        """Bound (theory K) of a first-order solver, in closed form (theory 7).

        Per dimension and interval [a, b]: `m(b) (a^-2 - b^-2) / 2 - [ln(t^2 / (c^2 + t^2))]_a^b / 2`, `m(t) = c^2 t^2 / (c^2 + t^2)`.

        Args:
            levels: strictly decreasing, all > 0, shape (N + 1,).
        """
        b, a = np.asarray(levels[:-1]), np.asarray(levels[1:])
        c2 = self.c**2
        mmse = c2 * b**2 / (c2 + b**2)
        log_ratio = -np.log1p(c2 / b**2) + np.log1p(c2 / a**2)
        return self.shape[0] * float(np.sum(0.5 * mmse * (a**-2 - b**-2) - 0.5 * log_ratio))

    def klub_fixed_point(self, above: float, below: float) -> float:
        """Minimizer of the bound over one interior level between two fixed ones (theory 8) (paper, Appendix A.3)."""
        c2, product = self.c**2, above * below
        return math.sqrt(c2 * product / (math.sqrt((above**2 + c2) * (below**2 + c2)) - product))

    def arctan_levels(self, steps: int) -> Array:
        """Minimizer of the output KL of Euler/DDIM (paper, Theorem 3.1): `arctan(sigma / c)` is linear; shape (steps + 1,)."""
        angles = np.linspace(math.atan(self.sigma_max / self.c), math.atan(self.sigma_min / self.c), steps + 1)
        return self.c * np.tan(angles)

    def euler_kl(self, levels: Array) -> float:
        """KL from the true law at the last level to the law that Euler/DDIM produces, in closed form (paper, Section 3.1)."""
        b, a = np.asarray(levels[:-1]), np.asarray(levels[1:])
        c2 = self.c**2
        log_f = float(np.sum(2 * np.log((b**2 + c2) / (a * b + c2)) - np.log((b**2 + c2) / (a**2 + c2))))
        return self.shape[0] * 0.5 * (math.exp(log_f) - 1 - log_f)


class GaussianMixture:
    """Isotropic Gaussian components; float64."""

    dtype = torch.float64
    device = torch.device("cpu")

    def __init__(
        self, means: Tensor, stds: Tensor, weights: Tensor | None = None, *, sigma_min: float = 0.002, sigma_max: float = 80.0
    ) -> None:
        """Fix the law.

        Args:
            means: shape (components, dim).
            stds: shape (components,), each > 0.
            weights: shape (components,), positive, any sum; None: equal.
            sigma_min: lowest noise level offered.
            sigma_max: highest noise level offered.
        """
        self.means, self.stds = means.to(torch.float64), stds.to(torch.float64)
        raw = torch.ones(len(means), dtype=torch.float64) if weights is None else weights.to(torch.float64)
        self.weights = raw / raw.sum()
        self.shape: tuple[int, ...] = (means.shape[1],)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def _log_parts(self, x: Tensor, sigma: Tensor) -> Tensor:
        variance = self.stds.square() + sigma.square().unsqueeze(1)  # [batch, components]
        squared = torch.cdist(x, self.means, compute_mode="donot_use_mm_for_euclid_dist").square()
        return self.weights.log() - 0.5 * (squared / variance + self.shape[0] * (variance.log() + _LOG_2PI))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Exact denoiser (theory 2); x of shape (batch, dim), sigma of shape (batch,)."""
        responsibility = self._log_parts(x, sigma).softmax(1)  # [batch, components]
        shrink = self.stds.square() / (self.stds.square() + sigma.square().unsqueeze(1))
        return (responsibility * shrink).sum(1, keepdim=True) * x + (responsibility * (1 - shrink)) @ self.means

    def sample_data(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw data, shape (n, dim)."""
        index = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, *self.shape, generator=generator, dtype=torch.float64)
        return self.means[index] + self.stds[index, None] * noise

    def log_density(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Log-density of the law noised to `sigma`, at x of shape (batch, dim); shape (batch,)."""
        return self._log_parts(x, torch.full((len(x),), sigma, dtype=torch.float64)).logsumexp(1)

    def mmse(self, sigma: float, *, points_per_std: int = 6) -> float:
        """`E ||x_0||^2 - E ||D||^2` by the trapezoid rule on a tensor grid, spectrally accurate; dimensions 1 and 2 only.

        Raises:
            ValueError: the dimension is above 2.
        """
        dim = self.shape[0]
        if dim > 2:
            msg = f"received a mixture in {dim} dimensions; quadrature is for 1 or 2; estimate it from samples instead"
            raise ValueError(msg)
        width = math.sqrt(float(self.stds.min()) ** 2 + sigma**2)
        margin = 9 * math.sqrt(float(self.stds.max()) ** 2 + sigma**2)
        lower, upper = float(self.means.min()) - margin, float(self.means.max()) + margin
        axis = torch.linspace(lower, upper, math.ceil((upper - lower) / width * points_per_std) + 1, dtype=torch.float64)
        cell = float(axis[1] - axis[0]) ** dim
        second = sum(self._second_moment(part, sigma) for part in torch.cartesian_prod(*[axis] * dim).reshape(-1, dim).split(65536))
        data = float((self.weights * (self.means.square().sum(1) + dim * self.stds.square())).sum())
        return data - cell * second

    def _second_moment(self, x: Tensor, sigma: float) -> float:
        estimate = self.denoise(x, torch.full((len(x),), sigma, dtype=torch.float64))
        return float((self.log_density(x, sigma).exp() * estimate.square().sum(1)).sum())


def grid_mixture(
    side: int = 8, *, spacing: float = 0.5, std: float = 0.02, sigma_min: float = 0.002, sigma_max: float = 80.0
) -> GaussianMixture:
    """Equal components on a centred `side` x `side` grid in the plane, as in the paper's 2-D experiments (Table 4)."""
    axis = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    means = torch.cartesian_prod(axis, axis)
    return GaussianMixture(means, torch.full((side * side,), std), sigma_min=sigma_min, sigma_max=sigma_max)


def power_law_gaussian(dim: int = 512, *, exponent: float = 1.0, sigma_min: float = 0.002, sigma_max: float = 80.0) -> AnisotropicGaussian:
    """Gaussian whose k-th variance is proportional to `k^-exponent`, mean variance 1/4 (the range of natural images in [-1, 1])."""
    raw = torch.arange(1, dim + 1, dtype=torch.float64) ** -exponent
    return AnisotropicGaussian(raw / raw.mean() * 0.25, sigma_min=sigma_min, sigma_max=sigma_max)
