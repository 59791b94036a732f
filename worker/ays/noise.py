r"""Noise processes: the map between a model's native time and the noise level sigma.

A process $x_t = s(t) (x_0 + \sigma(t) \epsilon)$ enters the mathematics only through $\sigma$; the one constraint is that
$\sigma$ increases strictly with time. The scale $s$ is needed at the border of a network alone.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Kind = Literal["ve", "vp", "edm", "flow"]

SIGMA_CAP = 2.0**15
"""Noise level above which a table's entry has no signal: beyond the cosine schedule's last, 20,291, and within half precision's range."""


class NoiseProcess(Protocol):
    """A noise process: native time and scale as functions of sigma."""

    @property
    def kind(self) -> Kind:
        """Family of the process."""

    @property
    def sigma_min(self) -> float:
        """Lowest noise level, > 0."""

    @property
    def sigma_max(self) -> float:
        """Highest noise level, finite."""

    def time(self, sigma: ArrayLike) -> Array:
        """Native time of noise levels in [sigma_min, sigma_max], any shape, float64."""

    def sigma(self, time: ArrayLike) -> Array:
        """Noise level of native times, any shape, float64."""

    def scale(self, sigma: ArrayLike) -> Array:
        """Signal scale s at noise levels, any shape, float64: the network's input is `s x`."""


@dataclass(frozen=True, kw_only=True)
class VE:
    """Variance exploding (theory 1): `s = 1`, time is sigma itself (Song et al. 2021, https://arxiv.org/abs/2011.13456)."""

    sigma_min: float
    sigma_max: float
    kind: Kind = "ve"

    def time(self, sigma: ArrayLike) -> Array:
        """Return sigma."""
        return np.asarray(sigma, dtype=np.float64)

    def sigma(self, time: ArrayLike) -> Array:
        """Return time."""
        return np.asarray(time, dtype=np.float64)

    def scale(self, sigma: ArrayLike) -> Array:
        """Return ones."""
        return np.ones_like(np.asarray(sigma, dtype=np.float64))


@dataclass(frozen=True, kw_only=True)
class EDM:
    """EDM (theory 1): `s = 1`, native time `c_noise = ln(sigma) / 4` (Karras et al. 2022, https://arxiv.org/abs/2206.00364, Table 1).

    Attributes:
        sigma_min: lowest noise level.
        sigma_max: highest noise level.
        sigma_data: standard deviation of the data that the network's preconditioning assumes.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    kind: Kind = "edm"

    def time(self, sigma: ArrayLike) -> Array:
        """Return `ln(sigma) / 4`."""
        return np.log(np.asarray(sigma, dtype=np.float64)) / 4

    def sigma(self, time: ArrayLike) -> Array:
        """Return `exp(4 time)`."""
        return np.exp(4 * np.asarray(time, dtype=np.float64))

    def scale(self, sigma: ArrayLike) -> Array:
        """Return ones."""
        return np.ones_like(np.asarray(sigma, dtype=np.float64))


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Rectified flow (theory 1): `s = 1 - t`, `sigma = t / (1 - t)`, t in (0, 1) (Liu et al. 2023, https://arxiv.org/abs/2209.03003).

    Attributes:
        sigma_min: lowest noise level.
        sigma_max: highest noise level.
        shift: factor on sigma of the schedules that are used with the model (Esser et al. 2024, Equation 23); D does not depend on it.
    """

    sigma_min: float = 1e-3
    sigma_max: float = 1e3
    shift: float = 1.0
    kind: Kind = "flow"

    def time(self, sigma: ArrayLike) -> Array:
        """Return `sigma / (1 + sigma)`."""
        level = np.asarray(sigma, dtype=np.float64)
        return level / (1 + level)

    def sigma(self, time: ArrayLike) -> Array:
        """Return `t / (1 - t)`; t must stay below 1, where sigma is infinite."""
        t = np.asarray(time, dtype=np.float64)
        if np.any(t >= 1) or np.any(t < 0):
            msg = f"received t in [{t.min()}, {t.max()}]; expected 0 <= t < 1; cap t at sigma_max / (1 + sigma_max)"
            raise ValueError(msg)
        return t / (1 - t)

    def scale(self, sigma: ArrayLike) -> Array:
        """Return `1 / (1 + sigma)`."""
        return 1 / (1 + np.asarray(sigma, dtype=np.float64))


class VP:
    r"""Variance preserving, discrete time (theory 1): $\sigma_i = \sqrt{(1 - \bar\alpha_i) / \bar\alpha_i}$, $s = 1 / \sqrt{1 + \sigma^2}$.

    Between the table's entries time is interpolated linearly in ln sigma. Entries without signal (zero-terminal-SNR models), where
    sigma is infinite or above `SIGMA_CAP`, are left out, so `sigma_max` is finite.
    """

    kind: Kind = "vp"

    def __init__(self, betas: ArrayLike) -> None:
        """Build the table.

        Args:
            betas: variances of the forward steps, shape (T,), each in (0, 1].

        Raises:
            ValueError: a beta is outside (0, 1] or fewer than two levels are finite.
        """
        table = np.asarray(betas, dtype=np.float64)
        if table.ndim != 1 or not np.all((table > 0) & (table <= 1)):
            msg = f"received betas of shape {table.shape} in [{table.min()}, {table.max()}]; expected shape (T,) in (0, 1]"
            raise ValueError(msg)
        alphas_cumprod = np.cumprod(1 - table)
        finite = alphas_cumprod[alphas_cumprod * (1 + SIGMA_CAP**2) >= 1]
        if len(finite) < 2:
            msg = f"received betas with {len(finite)} finite noise levels; expected at least 2"
            raise ValueError(msg)
        self._log_sigma = 0.5 * (np.log1p(-finite) - np.log(finite))
        self._times = np.arange(len(finite), dtype=np.float64)
        self.train_timesteps = len(table)

    @property
    def sigma_min(self) -> float:
        """Noise level of time 0."""
        return float(np.exp(self._log_sigma[0]))

    @property
    def sigma_max(self) -> float:
        """Noise level of the last time of finite sigma."""
        return float(np.exp(self._log_sigma[-1]))

    def time(self, sigma: ArrayLike) -> Array:
        """Return fractional timesteps in [0, T - 1]."""
        return np.interp(np.log(np.asarray(sigma, dtype=np.float64)), self._log_sigma, self._times)

    def sigma(self, time: ArrayLike) -> Array:
        """Return noise levels of fractional timesteps."""
        return np.exp(np.interp(np.asarray(time, dtype=np.float64), self._times, self._log_sigma))

    def scale(self, sigma: ArrayLike) -> Array:
        """Return `1 / sqrt(1 + sigma^2)`."""
        return 1 / np.sqrt(1 + np.square(np.asarray(sigma, dtype=np.float64)))


def linear_betas(steps: int = 1000, *, start: float = 1e-4, end: float = 0.02) -> Array:
    """Betas of DDPM (Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239), shape (steps,)."""
    return np.linspace(start, end, steps)


def scaled_linear_betas(steps: int = 1000, *, start: float = 0.00085, end: float = 0.012) -> Array:
    """Betas of Stable Diffusion, linear in the square root (Rombach et al. 2022), shape (steps,)."""
    return np.linspace(start**0.5, end**0.5, steps) ** 2


def cosine_betas(steps: int = 1000, *, max_beta: float = 0.999) -> Array:
    """Betas of the cosine schedule (Nichol, Dhariwal 2021, https://arxiv.org/abs/2102.09672, Equation 17), shape (steps,)."""
    edges = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - edges[1:] / edges[:-1], max_beta)


def zero_terminal_snr(betas: ArrayLike) -> Array:
    r"""Rescale betas so that the last step has no signal (Lin et al. 2024, https://arxiv.org/abs/2305.08891, Algorithm 1).

    Args:
        betas: variances of the forward steps, shape (T,).

    Returns:
        Shape (T,): $\sqrt{\bar\alpha}$ shifted to end at 0 and scaled to keep its first value; the last beta is 1.
    """
    root = np.sqrt(np.cumprod(1 - np.asarray(betas, dtype=np.float64)))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return 1 - np.square(root / np.concatenate([[1.0], root[:-1]]))
