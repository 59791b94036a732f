r"""Levels and weights by gradients through the rollout: the limit of solvers that combine past evaluations.

The problem of S4S (Frankel et al. 2025, https://arxiv.org/abs/2502.17423) and GS (2025, https://arxiv.org/abs/2510.17699), for the
family

    x_(i+1) = r x_i + (1 - r) sum_m w_i[m] D_(i-m),    r = sigma_(i+1) / sigma_i,    m < 4,    sum_m w_i[m] = 1,

whose last step returns the sum itself. As in GS the unknowns of the weights are what they add to a known solver's, here
DPM-Solver++(2M)'s on the current levels; those of the levels are the logarithms of their gaps in ln sigma. Adam descends on the distance
to fine solutions from the same noises, batch by batch; the iterate of the smallest error on validation noises is the answer.

An iteration of n steps on b noises is n b forward evaluations and as many backward passes, each counted as two.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.baselines import stock
from benchmarks.baselines.differentiable import differentiable
from benchmarks.baselines.problem import Problem
from worker.ays.noise import Array
from worker.ays.schedule import log_snr
from worker.ays.solvers import SOLVERS, Denoise, sample

HISTORY = 4
"""Evaluations that a step combines at most."""

BACKWARD = 2
"""Evaluations that a backward pass counts as."""

_LEAST = 1e-4
_STARTS = tuple(stock.hand_made(name) for name in ("edm", "log_snr", "time_uniform"))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a descent may spend.

    Attributes:
        iterations: steps of Adam.
        batch: noises of a step.
        noises: training noises in all.
        validation: noises that choose the iterate.
        every: iterations between validations.
        lr: step size of Adam at its height; it falls as a cosine.
        levels: of the fine solutions.
    """

    iterations: int = 600
    batch: int = 64
    noises: int = 512
    validation: int = 256
    every: int = 50
    lr: float = 0.02
    levels: int = 192


@dataclass(frozen=True)
class Progress:
    """A descent after some of its iterations.

    Attributes:
        evaluations: spent so far.
        seconds: CPU seconds spent so far.
        error: mean squared distance on the validation noises, of the best iterate so far.
    """

    evaluations: int
    seconds: float
    error: float


@dataclass(frozen=True)
class Fitted:
    """A solver of its own.

    Attributes:
        levels: n evaluated levels, strictly decreasing, then 0; shape (n + 1,).
        weights: of each step's evaluations, newest first, 0 where there is none yet; shape (n, HISTORY).
        trace: the descent at its validations.
    """

    levels: Array
    weights: Array
    trace: tuple[Progress, ...]

    def sample(self, denoise: Denoise, noise: Tensor) -> Tensor:
        """Samples from standard normal noise, both of shape (n, *shape)."""
        return rollout(denoise, torch.from_numpy(self.levels), torch.from_numpy(self.weights), noise)


def fit(problem: Problem, n: int, budget: Budget | None = None) -> Fitted:
    """Descend from the best of three stock schedules with DPM-Solver++(2M).

    Args:
        problem: the model; its training noises come first in its stream, the validation noises after them.
        n: evaluations, at least 2.
        budget: how much to spend.
    """
    budget = budget or Budget()
    spent = problem.spent()
    noise = problem.noise(budget.noises + budget.validation)
    fine = log_snr(budget.levels, sigma_max=problem.sigma_max, sigma_min=problem.sigma_min, terminal="zero")
    clean = problem.shared(("gradient", budget.levels, len(noise)), lambda: sample(SOLVERS["dpmpp_2m"], problem.denoise, fine, noise))
    training, validation = (noise[: budget.noises], clean[: budget.noises]), (noise[budget.noises :], clean[budget.noises :])

    def error(levels: Array, weights: Array) -> float:
        return float((Fitted(levels, weights, ()).sample(problem.denoise, validation[0]) - validation[1]).flatten(1).square().sum(1).mean())

    def told(value: float) -> Progress:
        now = problem.spent()
        return Progress(now[0] - spent[0], now[1] - spent[1], value)

    starts = [Unknowns(method(problem, n, SOLVERS["dpmpp_2m"]), problem) for method in _STARTS]
    found = [(error(*start.values()), start) for start in starts]
    least, start = min(found, key=lambda each: each[0])
    best, trace = start.values(), [told(least)]

    def validated() -> None:
        nonlocal least, best
        value = error(*start.values())
        if value < least:
            least, best = value, start.values()
        trace.append(told(least))

    descend(problem, start, training, budget, validated)
    return Fitted(*best, tuple(trace))


def descend(problem: Problem, unknowns: "Unknowns", training: tuple[Tensor, Tensor], budget: Budget, validate: Callable[[], None]) -> None:
    """Run Adam on the mean distance, which a few distant samples rule less than its square; `unknowns` change in place."""
    denoise = differentiable(problem.denoiser)
    optimizer = torch.optim.Adam(unknowns.parameters, lr=budget.lr, betas=(0.9, 0.99))
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.iterations)
    generator = torch.Generator().manual_seed(problem.seed)
    for iteration in range(1, budget.iterations + 1):
        index = torch.randperm(len(training[0]), generator=generator)[: budget.batch]
        noise, clean = (part[index] for part in training)
        levels, weights = unknowns()
        distance = (rollout(denoise, levels, weights, noise) - clean).flatten(1).square().sum(1)
        optimizer.zero_grad()
        (distance + 1e-12).sqrt().mean().backward()
        torch.nn.utils.clip_grad_norm_(unknowns.parameters, 1.0)
        optimizer.step()
        decay.step()
        problem.charge((1 + BACKWARD) * len(weights) * len(noise))
        if iteration % budget.every == 0 or iteration == budget.iterations:
            validate()


class Unknowns:
    """What a descent moves: gaps of the levels in ln sigma, and what the weights have beyond those of DPM-Solver++(2M)."""

    def __init__(self, levels: Array, problem: Problem) -> None:
        """Start at a schedule.

        Args:
            levels: n evaluated levels, then 0; shape (n + 1,).
            problem: gives the range.
        """
        n = len(levels) - 1
        self._top, self._span = math.log(problem.sigma_max), math.log(problem.sigma_max / problem.sigma_min)
        shares = np.append((self._top - np.log(levels[:-1])) / self._span, 1.0)
        self._gaps = torch.from_numpy(np.log(np.maximum(np.diff(shares, prepend=0.0), 10 * _LEAST))).requires_grad_()
        self._more = torch.zeros(n, HISTORY - 1, dtype=torch.float64, requires_grad=True)
        # Step i has i evaluations before its newest.
        self._known = torch.ones(n, HISTORY - 1, dtype=torch.float64).tril(-1)

    @property
    def parameters(self) -> list[Tensor]:
        """Leaves of the graph."""
        return [self._gaps, self._more]

    def __call__(self) -> tuple[Tensor, Tensor]:
        """Levels with their 0, shape (n + 1,), and weights, shape (n, HISTORY), with gradients."""
        shares = (self._gaps.softmax(0) + _LEAST).cumsum(0)[:-1] / (1 + len(self._gaps) * _LEAST)
        levels = torch.cat([(self._top - self._span * shares).exp(), torch.zeros(1, dtype=torch.float64)])
        return levels, second_order(levels) + torch.cat([-(self._more * self._known).sum(1, keepdim=True), self._more * self._known], dim=1)

    def values(self) -> tuple[Array, Array]:
        """Levels and weights as they are now."""
        with torch.no_grad():
            levels, weights = self()
        return levels.numpy(), weights.numpy()


def second_order(levels: Tensor) -> Tensor:
    """DPM-Solver++(2M)'s weights on levels of shape (n + 1,), the last one 0; shape (n, HISTORY)."""
    step = -levels[:-1].log().diff()
    share = step[1:] / (2 * step[:-1])
    before = torch.nn.functional.pad(share, (1, 1))  # the first step and the one to level 0 take the newest alone
    return torch.stack([1 + before, -before, *[torch.zeros_like(before)] * (HISTORY - 2)], dim=1)


def rollout(denoise: Denoise, levels: Tensor, weights: Tensor, noise: Tensor) -> Tensor:
    """Samples of a solver of this family.

    Args:
        denoise: the model.
        levels: strictly decreasing, the last one 0, shape (n + 1,).
        weights: of each step's evaluations, newest first, 0 where there is none yet, shape (n, HISTORY).
        noise: standard normal, shape (b, *shape); the start is `levels[0] noise`.

    Returns:
        Shape (b, *shape).
    """
    x = levels[0] * noise
    past: list[Tensor] = []
    for now, then, own in zip(levels[:-1], levels[1:], weights, strict=True):
        past = [denoise(x, now.expand(len(x))), *past[: HISTORY - 1]]
        combined = sum((weight * each for weight, each in zip(own, past, strict=False)), torch.zeros_like(x))
        x = torch.lerp(combined, x, then / now)
    return x
