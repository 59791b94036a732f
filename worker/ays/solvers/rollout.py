"""Running a solver: one or several schedules from the same starting noises."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from worker.ays.noise import Array
from worker.ays.paths import Brownian
from worker.ays.solvers.base import Solver

Denoise = Callable[[Tensor, Tensor], Tensor]
"""`(x (n, *shape), sigma (n,)) -> D (n, *shape)`, all float64."""


def _column(values: Array, like: Tensor) -> Tensor:
    """Shape (S,) -> (S, 1, 1, ...), to multiply (S, n, *shape)."""
    return torch.from_numpy(np.ascontiguousarray(values)).reshape(-1, *[1] * (like.ndim - 1)).to(like)


def _start(solver: Solver, levels: Array, noise: Tensor, brownian: Brownian | None) -> Tensor:
    """States at the first level of each schedule, shape (S, n, *shape): the level times standard normal noise.

    Below the top of a Brownian path that noise is what the path itself has become by then without a denoiser: `x / phi` of the top plus
    its increment. Its law is the same, and schedules that start at different levels share their luck.
    """
    levels = np.ascontiguousarray(levels)
    if brownian is None:
        return torch.from_numpy(levels).reshape(-1, *[1] * noise.ndim).to(noise) * noise
    path = brownian.at(torch.from_numpy(levels).unsqueeze(1)).to(noise)
    return _column(solver.noise.scale(levels), path) * (noise * float(brownian.u[0]) ** 0.5 + path)


class _Rollout:
    """State of S schedules run side by side from the same n starting noises; equal prefixes are evaluated once."""

    def __init__(
        self, solver: Solver, denoise: Denoise, sigmas: Array, x: Tensor, noise: Brownian | None, weights: Array | None = None
    ) -> None:
        if solver.fitted and weights is None:
            msg = f"received no weights for {solver.name}; expected those of its schedule: no rule gives them from the levels"
            raise ValueError(msg)
        self.solver, self.denoise, self.sigmas, self.noise = solver, denoise, sigmas, noise
        self.weights = weights
        # What the evaluations up to a step depend on, column by column.
        self.settings = sigmas[:, :-1, None] if weights is None else np.concatenate([sigmas[:, :-1, None], weights], axis=2)
        self.x = _start(solver, sigmas[:, 0], x, noise)
        self.started = self.x
        self.past: list[Tensor] = []
        self.used = 0
        self.steps = sigmas.shape[1] - 1
        self.to_zero = bool(np.all(sigmas[:, -1] == 0))

    def evaluate(self, x: Tensor, step: int, levels: Array) -> Tensor:
        """D of every schedule at `levels`, which the knots up to `step` determine; shape (S, n, *shape)."""
        if len(levels) == 1:
            return self.denoise(x[0], torch.full((x.shape[1],), float(levels[0]), dtype=x.dtype, device=x.device)).unsqueeze(0)
        decided = np.concatenate([self.settings[:, :step].reshape(len(x), -1), levels[:, None]], axis=1)
        _, first, group = np.unique(decided, axis=0, return_index=True, return_inverse=True)
        rows = x[torch.from_numpy(first)]
        sigma = torch.from_numpy(levels[first]).to(x).repeat_interleave(x.shape[1])
        estimate = self.denoise(rows.flatten(0, 1), sigma).reshape(rows.shape)
        return estimate[torch.from_numpy(group.reshape(-1))]

    def advance(self, step: int) -> Tensor:
        """Take step number `step`, from level `step` to level `step + 1`; return D at level `step`."""
        now, then = self.sigmas[:, step], self.sigmas[:, step + 1]
        estimate = self.evaluate(self.x, step, now)
        if self.solver.corrector is not None and step > 0:
            self._correct(estimate, step)
        self._remember(estimate, now)
        self.started = self.x
        if self.weights is not None:
            self.used = min(self.solver.history, step + 1)
            self.x = self._step(self.past[: self.used], self.weights[:, step, : self.used].T, now, then)
        elif np.all(then == 0):
            self.x = estimate
        elif self.solver.stage is not None and step < self.steps - 1:
            self.x = self._two_stages(estimate, now, then, step)
        else:
            self.used = self.solver.combined(step, self.steps, to_zero=self.to_zero)
            self.x = self._step(self.past[: self.used], self.solver.weights(self._levels(step, self.used)), now, then)
        return estimate

    def _levels(self, step: int, count: int) -> Array:
        """Levels `then, now, before, ...` of the step, shape (count + 1, S)."""
        return self.sigmas[:, step + 1 - count : step + 2].T[::-1]

    def _correct(self, estimate: Tensor, step: int) -> None:
        """Take the last step again with what was found at its end."""
        assert self.solver.corrector is not None
        self.x = self.started
        weights = self.solver.corrector(self._levels(step - 1, self.used))
        self.x = self._step([estimate, *self.past[: self.used]], weights, self.sigmas[:, step - 1], self.sigmas[:, step])

    def _remember(self, estimate: Tensor, now: Array) -> None:
        item = estimate if self.solver.combines == "denoised" else (self.x - estimate) / _column(now, estimate)
        self.past = [item, *self.past[: self.solver.history - 1]]

    def _two_stages(self, estimate: Tensor, now: Array, then: Array, step: int) -> Tensor:
        stage = self.solver.stage
        assert stage is not None
        level = stage.level(now, then)
        ratio = _column(level / now, estimate)
        predicted = ratio * self.x + (1 - ratio) * estimate
        second = self.evaluate(predicted, step + 1, level)
        if self.solver.combines == "slopes":
            second = (predicted - second) / _column(level, second)
        return self._step([second, *self.past[:1]], stage.weights(now, then), now, then)

    def _step(self, items: Sequence[Tensor], weights: Array, now: Array, then: Array) -> Tensor:
        combined = sum((_column(weight, item) * item for weight, item in zip(weights, items, strict=True)), torch.zeros_like(self.x))
        if self.solver.combines == "slopes":
            return self.x + _column(then - now, combined) * combined
        return self._move(combined, now, then)

    def _move(self, effective: Tensor, now: Array, then: Array) -> Tensor:
        """The step with D constant (theory 4, 5), whatever its noise (theory 16)."""
        process = self.solver.noise
        ratio = _column(process.scale(then) / process.scale(now), effective)
        moved = ratio * self.x + (1 - ratio) * effective
        if not self.solver.stochastic:
            return moved
        if self.noise is None:
            msg = f"{self.solver.name} is stochastic and received no Brownian path; expected one"
            raise ValueError(msg)
        levels = torch.from_numpy(np.stack([now, then], axis=1))
        increment = self.noise.at(levels[:, [1]]) - self.noise.at(levels[:, [0]])
        return moved + _column(process.scale(then), effective) * increment.to(self.x)


def sample(
    solver: Solver, denoise: Denoise, sigmas: Array, noise: Tensor, *, brownian: Brownian | None = None, weights: Array | None = None
) -> Tensor:
    """Run one or several schedules from the same starting noises.

    Args:
        solver: the method.
        denoise: the model; evaluated once where several schedules agree from their start up to a level.
        sigmas: levels, strictly decreasing, the last may be 0, shape (S, N + 1) or (N + 1,).
        noise: standard normal starting noises, shape (n, *shape), float64; the start is `sigma_0 noise`.
        brownian: paths of the same n samples in the solver's own clock, for stochastic solvers.
        weights: of each step's past evaluations, newest first, in place of the solver's own, shape (S, N, history) or (N, history);
            those of evaluations that a step does not have yet are ignored. A step to level 0 then returns the combination.

    Returns:
        Samples at the last level, shape (S, n, *shape) or (n, *shape).

    Raises:
        ValueError: a fitted solver without weights, or a stochastic one without paths.
    """
    table = np.atleast_2d(np.asarray(sigmas, dtype=np.float64))
    per_step = None if weights is None else np.asarray(weights, dtype=np.float64).reshape(*table[:, 1:].shape, -1)
    run = _Rollout(solver, denoise, table, noise, brownian, per_step)
    for step in range(table.shape[1] - 1):
        run.advance(step)
    return run.x if np.ndim(sigmas) == 2 else run.x[0]


def trajectory(
    solver: Solver, denoise: Denoise, sigmas: Array, noise: Tensor, *, brownian: Brownian | None = None
) -> tuple[Tensor, Tensor]:
    """Run one schedule and keep what it visits.

    Args:
        solver: the method.
        denoise: the model.
        sigmas: levels, strictly decreasing, all > 0, shape (G,).
        noise: standard normal starting noises, shape (n, *shape), float64.
        brownian: paths of the same n samples in the solver's own clock, for stochastic solvers.

    Returns:
        `(x, d)`, the states at every level, corrected where the method corrects them, and the denoiser as it was evaluated there, each of
        shape (G, n, *shape).
    """
    run = _Rollout(solver, denoise, np.asarray(sigmas, dtype=np.float64)[None], noise, brownian)
    states, estimates = [], []
    for step in range(len(sigmas) - 1):
        estimates.append(run.advance(step)[0])
        states.append(run.started[0])  # corrected, where the method corrects
    states.append(run.x[0])
    estimates.append(run.evaluate(run.x, len(sigmas) - 1, run.sigmas[:, -1])[0])
    return torch.stack(states), torch.stack(estimates)
