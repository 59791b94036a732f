r"""The reference: what every answer is compared with, finer than anything it judges, from the same starting noise.

An ODE is solved with a fourth-order method (UniPC of order 3 and its corrector) on a grid of its own. For stochastic solvers the coarse
and the fine sampler are driven by one Brownian path. The error of the reference itself is estimated by Richardson's rule from every other
level of its grid: with an error of order q, `x_(2h) - x_h` is `2^q - 1` times what `x_h` misses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worker.ays.denoise import along
from worker.ays.noise import Array
from worker.ays.paths import Brownian, Stream, brownian, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.schedule import Terminal
from worker.ays.solvers import Denoise, Solver, reference, sample, trajectory

_ORDER = {False: 2.0, True: 1.0}
"""Order of convergence that Richardson's rule takes for granted, of an ODE and (strong) of an SDE. The ODE's method has more on smooth
networks, so its error is rather over- than understated."""
_BROWNIAN_REFINEMENT = 4


@dataclass(frozen=True)
class ReferenceSet:
    """Starting noises with their references.

    Attributes:
        noise: standard normal, shape (n, *shape), float64.
        reference: its end at the terminal level, shape (n, *shape).
        brownian: the paths that drove it, for stochastic solvers.
        indices: which samples they are, length n; a conditional model's conditions follow from them.
        levels: its grid, shape (R,).
        states: its states at these levels, shape (R, n, *shape); None: not kept.
    """

    noise: Tensor
    reference: Tensor
    brownian: Brownian | None
    indices: tuple[int, ...]
    levels: Array
    states: Tensor | None = None

    def __len__(self) -> int:
        """Number of noises."""
        return len(self.noise)

    def state(self, level: float) -> Tensor:
        """States at one of its levels, shape (n, *shape).

        Raises:
            ValueError: they were not kept, or not at this level.
        """
        at = int(np.abs(np.log(self.levels / level)).argmin())
        if self.states is None or not np.isclose(self.levels[at], level, rtol=1e-9, atol=0):
            msg = f"received level {level:.6g}; expected one of the {len(self.levels)} levels of a reference that kept its states"
            raise ValueError(msg)
        return self.states[at]

    def part(self, start: int, stop: int) -> "ReferenceSet":
        """The noises from `start` up to `stop`."""
        paths = None if self.brownian is None else self.brownian.part(start, stop)
        states = None if self.states is None else self.states[:, start:stop]
        return replace(
            self,
            noise=self.noise[start:stop],
            reference=self.reference[start:stop],
            brownian=paths,
            indices=self.indices[start:stop],
            states=states,
        )

    def joined(self, other: "ReferenceSet") -> "ReferenceSet":
        """These noises, then others of the same stream and grid."""
        states = None if self.states is None or other.states is None else torch.cat([self.states, other.states], dim=1)
        paths = self.brownian if self.brownian is None or other.brownian is None else self.brownian.joined(other.brownian)
        noise, ends = torch.cat([self.noise, other.noise]), torch.cat([self.reference, other.reference])
        return ReferenceSet(noise, ends, paths, self.indices + other.indices, self.levels, states)


def reference_grid(sigma_max: float, sigma_min: float, intervals: int) -> Array:
    """Levels of a reference, evenly spaced in ln sigma, shape (intervals + 1,); an even number of intervals has every other level, too."""
    return log_grid(sigma_max, sigma_min, intervals + 1)


def solve_reference(
    solver: Solver,
    denoise: Denoise,
    shape: tuple[int, ...],
    *,
    levels: Array,
    terminal: Terminal,
    indices: Sequence[int],
    seed: int,
    stream: Stream,
    keep_states: bool = False,
) -> ReferenceSet:
    """Draw starting noises and solve them finely.

    Args:
        solver: the method to be judged; it decides how much noise there is.
        denoise: the model.
        shape: shape of one sample.
        levels: the fine grid, strictly decreasing, > 0, shape (R,).
        terminal: at `zero` the reference is the denoised end of the path, else its state at the last level.
        indices: which samples of the stream.
        seed: seed of the noises.
        stream: purpose, which keeps training, validation and report apart.
        keep_states: whether its states are kept, R times as many values.
    """
    noise = starting_noise(shape, indices, seed=seed, stream=stream)
    paths = None
    if solver.stochastic:
        count = (len(levels) - 1) * _BROWNIAN_REFINEMENT + 1
        fine = np.exp(np.interp(np.linspace(0, len(levels) - 1, count), np.arange(len(levels)), np.log(levels)))
        fine[::_BROWNIAN_REFINEMENT] = levels
        paths = brownian(fine, shape, indices, seed=seed, stream=stream, clock=solver.noise.clock)
    drawn = ReferenceSet(noise, noise, paths, tuple(indices), levels)
    return _solved(solver, denoise, drawn, levels, terminal, keep_states=keep_states)


def _solved(
    solver: Solver, denoise: Denoise, drawn: ReferenceSet, levels: Array, terminal: Terminal, *, keep_states: bool = False
) -> ReferenceSet:
    method, model = reference(solver), along(denoise, drawn.indices)
    if keep_states:
        states, estimates = trajectory(method, model, levels, drawn.noise, brownian=drawn.brownian)
        return replace(drawn, reference=estimates[-1] if terminal == "zero" else states[-1], states=states)
    end = sample(method, model, levels, drawn.noise, brownian=drawn.brownian)
    if terminal == "zero":
        # Not a step of the method, whose history would shrink before it: the same end as where states are kept.
        end = model(end, torch.full((len(end),), float(levels[-1]), dtype=end.dtype, device=end.device))
    return replace(drawn, reference=end)


def reference_errors(solver: Solver, denoise: Denoise, references: ReferenceSet, terminal: Terminal) -> Array:
    """Squared errors of references by Richardson's rule, shape (n,); it costs half of what solving them did.

    Args:
        solver: the method to be judged.
        denoise: the model.
        references: solved on a grid of an odd number of levels.
        terminal: where they end.
    """
    coarse = _solved(solver, denoise, references, references.levels[::2], terminal)
    missed = (coarse.reference - references.reference).flatten(1).square().sum(1)
    return missed.cpu().numpy() / (2 ** _ORDER[solver.stochastic] - 1) ** 2


def deviations(solver: Solver, denoise: Denoise, sigmas: Array, references: ReferenceSet, weights: Array | None = None) -> Tensor:
    """Distance vectors of the sampler's ends to the references.

    Args:
        solver: the method.
        denoise: the model.
        sigmas: schedules, shape (S, N + 1).
        references: noises and references.
        weights: of a fitted solver's steps, shape (S, N, history).

    Returns:
        Shape (S, n, dim).
    """
    model = along(denoise, references.indices)
    samples = sample(solver, model, sigmas, references.noise, brownian=references.brownian, weights=weights)
    return (samples - references.reference).flatten(2)


def squared_errors(solver: Solver, denoise: Denoise, sigmas: Array, references: ReferenceSet, weights: Array | None = None) -> Array:
    """Squared distances, shape (S, n); arguments as in `deviations`."""
    return deviations(solver, denoise, sigmas, references, weights).square().sum(2).cpu().numpy()
