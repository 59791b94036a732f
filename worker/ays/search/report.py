"""The report: errors of an answer on noises that took part in no choice, read once, with intervals that cover."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.search.candidates import Candidate
from worker.ays.search.rollouts import Problem

FEWEST, MOST = 64, 1024
"""Noises of a report: fewer say nothing of heavy-tailed errors, with more the interval's ends are a factor of two or three apart."""
INTERVALS, MOST_INTERVALS = 128, 1024
"""Intervals of its reference's grid, at least, and where that is too coarse."""
RESOLVED = 0.1
"""Largest error of a reference, as a part of the smallest error that it has to tell apart."""
OPERATIONS = {"cpu": 2e12, "cuda": 2e15}
"""Floating-point operations that a report may take, by kind of device: a minute or so of a processor of each kind."""
_PILOT, _CHUNK = 32, 128


class UnresolvedError(ValueError):
    """The reference on the finest grid is no finer than the answer it has to judge."""


@dataclass(frozen=True, eq=False)
class Report:
    """What the report's noises say.

    Attributes:
        ours: squared errors of the answer, shape (n,).
        stock: of the hand-made schedules, each of shape (n,).
        best_stock: the one with the smallest validation error.
        best_levels: its levels, shape (N + 1,).
        reference_error: mean squared error of the reference itself.
        evaluations: evaluations that all this took.
    """

    ours: Array
    stock: dict[str, Array]
    best_stock: str
    best_levels: Array
    reference_error: float
    evaluations: int


def report_noises(operations: int, evaluations: int, device: str) -> int:
    """How many noises a report has: as many as its share of operations allows, the same for the same model on the same kind of device.

    Args:
        operations: floating-point operations of an evaluation of one sample.
        evaluations: evaluations of every noise.
        device: `cpu` or `cuda`.
    """
    allowed = OPERATIONS.get(device, OPERATIONS["cuda"]) / max(1, operations * evaluations)
    return int(np.clip(allowed, FEWEST, MOST))


def reference_evaluations(solver_steps: int) -> int:
    """Evaluations of every noise's reference, on the coarsest grid that a report uses."""
    return max(INTERVALS, 4 * solver_steps) + 1


def report(problem: Problem, answer: Candidate, stock: Sequence[Candidate], noises: int) -> Report:
    """Measure an answer and hand-made schedules on the report's noises.

    The reference has `INTERVALS` intervals or four times the steps, and twice as many again until its own error is at most `RESOLVED` of
    the smallest error in the table.

    Args:
        problem: solver, model and range.
        answer: the schedule.
        stock: hand-made schedules, the best by validation first.
        noises: number of noises.

    Raises:
        UnresolvedError: even the finest reference is no finer than the answer.
    """
    before, judged = problem.denoise.evaluations, [answer, *stock]
    intervals = max(INTERVALS, 4 * problem.steps)
    intervals += intervals % 2
    while True:
        pilot = problem.references(Stream.REPORT, range(min(_PILOT, noises)), intervals)
        errors, own = problem.errors(judged, pilot), float(problem.reference_errors(pilot).mean())
        smallest = float(errors.mean(axis=1).min())
        if own <= RESOLVED * smallest:
            break
        if 2 * intervals > MOST_INTERVALS:
            if own > smallest:
                msg = f"received an answer with squared error {smallest:.3g} and a reference of {intervals + 1} levels with {own:.3g}; "
                raise UnresolvedError(msg + "expected a finer reference; ask for fewer evaluations, or look at samples instead")
            break
        intervals *= 2
    rows = [errors]
    for start in range(len(pilot), noises, _CHUNK):
        chunk = problem.references(Stream.REPORT, range(start, min(start + _CHUNK, noises)), intervals)
        rows.append(problem.errors(judged, chunk))
    ours, *others = np.concatenate(rows, axis=1)
    named = {candidate.name: values for candidate, values in zip(stock, others, strict=True)}
    return Report(ours, named, stock[0].name, stock[0].levels, own, problem.denoise.evaluations - before)
