r"""The fitted solver: a linear multistep method whose weights belong to the schedule (docs/theory.md, section 13).

    Dhat_i = sum_m w_i[m] D_(i-m),    x_(i+1) = r x_i + (1 - r) Dhat_i,    r = sigma_(i+1) / sigma_i,                           (theory 22)

and the step to noise level 0 returns Dhat.

Every printed multistep method of the ODE that combines denoised samples is one of its members, UniPC's corrector included: the state that
the corrector replaces is known to the next step as a combination of the same evaluations.
"""

import numpy as np

from worker.ays.noise import Array
from worker.ays.solvers.base import ODE, Solver

HISTORY = 4
"""Evaluations that a step combines at most; on a 28 x 28 network 2, 3, 4 and all leave .465, .218, .162 and .147 of an error."""

FITTED = Solver(name="fitted", order=1, history=HISTORY, fitted=True)


def printed_weights(solver: Solver, levels: Array) -> Array:
    """Weights with which the fitted solver is a printed method.

    Args:
        solver: of the ODE, one evaluation a step, combining at most `HISTORY` denoised samples.
        levels: strictly decreasing, the last may be 0, shape (N + 1,).

    Returns:
        Shape (N, HISTORY), newest first, zeros where there is no evaluation yet; every row sums to 1.

    Raises:
        ValueError: the method is not a member.
    """
    longest = solver.history + (solver.corrector is not None)
    if solver.noise is not ODE or solver.combines != "denoised" or solver.stage is not None or longest > HISTORY or solver.fitted:
        msg = f"received {solver.name}; expected a multistep method of the ODE that combines at most {HISTORY} denoised samples"
        raise ValueError(msg)
    steps, to_zero = len(levels) - 1, bool(levels[-1] == 0)
    weights = np.zeros((steps, HISTORY))
    before: Array = np.ones(1)
    for step in range(steps):
        if step + 1 == steps and to_zero:
            weights[step, 0] = 1.0
            break
        used = solver.combined(step, steps, to_zero=to_zero)
        own = solver.weights(levels[step + 1 - used : step + 2][::-1, None])[:, 0]
        weights[step, :used] = own
        if solver.corrector is not None and step > 0:
            count = len(before)
            change = solver.corrector(levels[step - count : step + 1][::-1, None])[:, 0]
            change[1:] -= before
            ratio, ratio_before = levels[step + 1] / levels[step], levels[step] / levels[step - 1]
            weights[step, : count + 1] += ratio * (1 - ratio_before) / (1 - ratio) * change
        before = own
    return weights
