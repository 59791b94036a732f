r"""A denoiser learnt along given noises, so that a search may ask it for nothing.

All students of one starting noise stay near its fine solution, and each evaluation of one tells what the others would have met. Around
the fine solution, whose states $x_*(\sigma)$ and estimates $D_*(\sigma)$ are known,

    D(x, sigma) = D_*(sigma) + kappa (x - x_*(sigma)) + f(x - x_*(sigma), ln sigma),   kappa = s^2 / (s^2 + sigma^2),   (theory L)

where kappa is what Gaussian data of variance $s^2$ would have, and f is a Gaussian process, zero on the fine solution, given what has
been evaluated so far (kriging: Rasmussen and Williams 2006, http://gaussianprocess.org/gpml, chapter 2). Each noise has a process of its
own; they share their lengths, which are those of least leave-one-out error (there, 5.4.2).
"""

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import along
from worker.ays.noise import Array
from worker.ays.solvers import Denoise
from worker.ays.span import Span
from worker.ays.validate import HeldOut

_LENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Distances over which f changes, in multiples of `s sqrt(dim)` where it is the same at all levels."""
_SPANS = (0.35, 0.7, 1.4, 2.8)
"""Spans of ln sigma over which it changes."""
_POWERS = (0.0, 0.25, 0.5, 1.0)
"""Powers of sigma with which those distances grow."""
_FIRST = (2, 1, 0)
_STEPS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
"""Places of the lengths in their lists: where to begin, and where to look from there."""
_FIRST_ROUNDS, _ROUNDS = 6, 1
"""Rounds in which the lengths may move by a place each: at first, and after further evaluations."""
_NUGGET = 1e-6
"""Variance of what no process explains, relatively: it keeps the equations solvable where evaluations are close to each other."""
_NEIGHBOURS = 4
"""Levels of the fine solution that interpolate it."""


class Surrogate:
    """The denoiser along n starting noises, as far as it is known: a `Denoise` for the samples `noises`, once `fit` has been called."""

    def __init__(self, search: HeldOut) -> None:
        """Begin with the fine solutions alone.

        Args:
            search: noises of a deterministic solver, with the paths of their fine solutions.

        Raises:
            ValueError: the paths are not there.
        """
        kept = 0 if search.path is None else search.path.states.shape[1]
        if search.path is None or kept < len(search):
            msg = f"received {len(search)} noises with the paths of {kept} fine solutions; expected all; draw them with keep_path=True"
            raise ValueError(msg)
        self._indices, path = search.indices, search.path
        states, estimates, noise, ends = (
            each.flatten(2).transpose(0, 1) for each in (path.states, path.estimates, search.noise[None], search.reference[None])
        )
        count, _, dim = estimates.shape
        self._span = Span(count, dim)
        self._span.widen(torch.cat([noise, estimates], dim=1))
        self._levels = np.log(path.levels)
        self._states, self._estimates, self._noise, self._ends = map(self._span.coordinates, (states, estimates, noise, ends))
        # Data at one point have no variance, and then no length either.
        self._deviation = max(float(search.reference.std()), float(path.levels[-1]))
        self._length = self._deviation * dim**0.5
        self._log = np.zeros(0)
        self._offsets = self._residuals = torch.zeros(count, 0, self._span.size, dtype=torch.float64)
        self._gram = torch.zeros(count, 0, 0, dtype=torch.float64)
        self._chosen = _FIRST
        self._weights = self._residuals
        self._noted: list[tuple[Tensor, Array, Tensor]] = []

    def __len__(self) -> int:
        """Evaluations of every noise that it knows of."""
        return len(self._log) + sum(len(log) for _, log, _ in self._noted)

    @property
    def noises(self) -> HeldOut:
        """The noises and their fine solutions, in the coordinates of `__call__`."""
        noise, ends = (self._span.padded(each[:, 0]) for each in (self._noise, self._ends))
        return HeldOut(noise, ends, None, self._indices)

    def watching(self, denoise: Denoise) -> Denoise:
        """The model itself, of which this takes note: rows of a call are a multiple of n, row r belongs to noise `r mod n`."""
        inner = along(denoise, self._indices)

        def watched(x: Tensor, sigma: Tensor) -> Tensor:
            estimates = inner(x, sigma)
            self._noted.append((self._by_noise(x), sigma.reshape(-1, len(self._indices))[:, 0].numpy(), self._by_noise(estimates)))
            return estimates

        return watched

    def _learn(self) -> None:
        """Put what was noted among what is known."""
        states, levels, found = zip(*self._noted, strict=True)
        x, estimates, log = torch.cat(states, dim=1), torch.cat(found, dim=1), np.log(np.concatenate(levels))
        self._noted = []
        self._span.widen(estimates)
        self._offsets, self._residuals = map(self._span.padded, (self._offsets, self._residuals))
        offsets, prior = self._offsets_and_prior(self._span.coordinates(x), log)
        cross = self._offsets @ offsets.mT
        above, below = torch.cat([self._gram, cross], dim=2), torch.cat([cross.mT, offsets @ offsets.mT], dim=2)
        self._gram = torch.cat([above, below], dim=1)
        self._log = np.concatenate([self._log, log])
        self._offsets = torch.cat([self._offsets, offsets], dim=1)
        self._residuals = torch.cat([self._residuals, self._span.coordinates(estimates) - prior], dim=1)

    def _by_noise(self, rows: Tensor) -> Tensor:
        """Rows of a call, shape (k n, *shape) -> (n, k, dim)."""
        return rows.reshape(-1, len(self._indices), rows[0].numel()).transpose(0, 1)

    def _offsets_and_prior(self, x: Tensor, log: Array) -> tuple[Tensor, Tensor]:
        """`x - x_*` and the estimate without f, from coordinates of states, shape (n, k, size) each, and their ln sigma, shape (k,)."""
        states, estimates = self._fine(log)
        kappa = self._deviation**2 / (self._deviation**2 + np.exp(2 * log))
        return x - states, estimates + torch.from_numpy(kappa)[:, None] * (x - states)

    def _fine(self, log: Array) -> tuple[Tensor, Tensor]:
        """States and estimates of the fine solutions, interpolated in ln sigma by cubics, shape (n, k, size) each."""
        first = np.clip(np.searchsorted(-self._levels, -log) - _NEIGHBOURS // 2, 0, len(self._levels) - _NEIGHBOURS)
        index = first[:, None] + np.arange(_NEIGHBOURS)
        nodes = self._levels[index]
        apart = nodes[:, :, None] - nodes[:, None, :] + np.eye(_NEIGHBOURS)
        factors = (log[:, None, None] - nodes[:, None, :]) / apart
        factors[:, np.arange(_NEIGHBOURS), np.arange(_NEIGHBOURS)] = 1.0
        weights = torch.from_numpy(factors.prod(axis=2))

        def interpolated(nodes: Tensor) -> Tensor:
            return self._span.padded(torch.einsum("kj,nkjd->nkd", weights, nodes[:, index]))

        return interpolated(self._states), interpolated(self._estimates)

    def fit(self) -> None:
        """Learn from what was noted: choose the lengths again, nearby, and solve for the weights."""
        if self._noted:
            self._learn()
        rounds = _FIRST_ROUNDS if self._chosen == _FIRST else _ROUNDS
        tried = {self._chosen: self._solved(self._chosen)}
        for _ in range(rounds):
            best = min(tried, key=lambda each: tried[each][0])
            around = [(best[0] + by[0], best[1] + by[1], best[2] + by[2]) for by in _STEPS]
            new = [each for each in around if each not in tried and _exists(each)]
            if not new:
                break
            tried |= {each: self._solved(each) for each in new}
        self._chosen = min(tried, key=lambda each: tried[each][0])
        self._weights = tried[self._chosen][1]

    def _solved(self, chosen: tuple[int, int, int]) -> tuple[float, Tensor]:
        """Leave-one-out error of some lengths, infinite where rounding makes them unsolvable, and the weights, shape (n, m, size)."""
        squares = self._gram.diagonal(dim1=1, dim2=2)
        kernel = self._kernel(chosen, self._gram, squares, squares, self._log)
        own = kernel.diagonal(dim1=1, dim2=2)
        factor, failed = torch.linalg.cholesky_ex(kernel + torch.diag_embed(_NUGGET * (own + own.mean(1, keepdim=True)) + 1e-300))
        inverse = torch.cholesky_inverse(factor)
        weights = inverse @ self._residuals
        left_out = weights / inverse.diagonal(dim1=1, dim2=2)[..., None]
        return float("inf") if bool(failed.any()) else float(left_out.square().sum()), weights

    def _kernel(self, chosen: tuple[int, int, int], products: Tensor, squares: Tensor, known: Tensor, log: Array) -> Tensor:
        """Covariance of f at k places and at the m known ones, shape (n, k, m).

        It is that of a squared exponential, given that f is zero on the fine solution.

        Args:
            chosen: places of the lengths in their lists.
            products: scalar products of the offsets, shape (n, k, m).
            squares: of the k offsets, shape (n, k).
            known: of the m known ones, shape (n, m).
            log: ln sigma of the k places.
        """
        length, span, power = _LENGTHS[chosen[0]] * self._length, _SPANS[chosen[1]], _POWERS[chosen[2]]
        here, there = (torch.from_numpy(length * np.exp(power * (at - np.log(self._deviation)))) for at in (log, self._log))
        near = products / (here[:, None] * there)
        a, b = squares / here**2 / 2, known / there**2 / 2
        alike = torch.from_numpy(np.exp(-(((log[:, None] - self._log) / span) ** 2) / 2))
        # e^-(apart) - e^-a e^-b, without the cancellation of small offsets; where the clamp is felt, the first factor is 0.
        apart = (near - a[:, :, None] - b[:, None, :]).clamp_(max=0.0)
        return -apart.exp_() * (-near.clamp_(min=-700.0)).expm1_() * alike

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimate as far as it is known.

        Args:
            x: coordinates of states, shape (k n, size); row r belongs to noise `r mod n`.
            sigma: their levels, shape (k n,), the same for all noises.

        Returns:
            Coordinates, shape (k n, size).
        """
        log = np.log(sigma.reshape(-1, len(self._indices))[:, 0].numpy())
        offsets, prior = self._offsets_and_prior(self._by_noise(x), log)
        known = self._gram.diagonal(dim1=1, dim2=2)
        kernel = self._kernel(self._chosen, offsets @ self._offsets.mT, offsets.square().sum(2), known, log)
        return (prior + kernel @ self._weights).transpose(0, 1).reshape(x.shape)


def _exists(chosen: tuple[int, int, int]) -> bool:
    return all(0 <= at < len(values) for at, values in zip(chosen, (_LENGTHS, _SPANS, _POWERS), strict=True))
