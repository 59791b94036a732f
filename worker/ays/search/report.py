"""The report: errors of an answer on noises that took part in no choice, read once, with intervals that cover."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.search.candidates import Candidate
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.rollouts import Problem

FEWEST, MOST = 64, 1024
"""Noises of a report: fewer say nothing of heavy-tailed errors, with more the interval's ends are a factor of two or three apart."""
INTERVALS, MOST_INTERVALS = 128, 1024
"""Intervals of its reference's grid, at least, and where that is too coarse."""
RESOLVED = 0.1
"""Largest error of a reference, as a part of the smallest error that it has to tell apart."""
OPERATIONS = {"cpu": 2e12, "cuda": 2e15}
"""Floating-point operations that a report may take, by kind of device: a minute or so of a processor of each kind."""
LADDER = 2 ** (1 / 3)
"""Factor between the numbers of evaluations at which another sampler is tried for the same error: between them it is interpolated."""
NFE_MOST = 64
"""Most evaluations that are tried there."""
_PILOT, _CHUNK = 32, 128

Sampler = Literal["stock", "fixed"]
"""Hand-made schedules of the same solver, and fixed solvers on schedules of their own beside the fitted one."""

Family = Callable[[int], Sequence[Candidate]]
"""Schedules of a sampler for a number of steps, of which the best one counts; none where it has none."""


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
        dim: values of a sample.
        equivalent: evaluations that other samplers need for the same error, by name.
    """

    ours: Array
    stock: dict[str, Array]
    best_stock: str
    best_levels: Array
    reference_error: float
    evaluations: int
    dim: int
    equivalent: dict[Sampler, float] = field(default_factory=dict)


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


def report(
    problem: Problem,
    answer: Candidate,
    stock: Sequence[Candidate],
    noises: int,
    *,
    families: Mapping[Sampler, Family] | None = None,
    first: int = 0,
) -> Report:
    """Measure an answer and hand-made schedules on the report's noises.

    The reference has `INTERVALS` intervals or four times the steps, and twice as many again until its own error is at most `RESOLVED` of
    the smallest error in the table.

    Args:
        problem: solver, model and range.
        answer: the schedule.
        stock: hand-made schedules, the best by validation first.
        noises: number of noises.
        families: samplers whose evaluations for the same error are wanted, by name.
        first: the first of the noises; what came before took part in a choice.

    Raises:
        UnresolvedError: even the finest reference is no finer than the answer.
    """
    before, judged = problem.denoise.evaluations, [answer, *stock]
    intervals = max(INTERVALS, 4 * problem.steps)
    intervals += intervals % 2
    while True:
        pilot = problem.references(Stream.REPORT, range(first, first + min(_PILOT, noises)), intervals)
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
    rows, compared = [errors], pilot
    for start in range(len(pilot), noises, _CHUNK):
        chunk = problem.references(Stream.REPORT, range(first + start, first + min(start + _CHUNK, noises)), intervals)
        rows.append(problem.errors(judged, chunk))
        compared = compared.joined(chunk) if start == len(pilot) else compared
    ours, *others = np.concatenate(rows, axis=1)
    named = {candidate.name: values for candidate, values in zip(stock, others, strict=True)}
    error = float(ours[: len(compared)].mean())
    equivalent = {name: equivalent_evaluations(problem, error, family, compared) for name, family in (families or {}).items()}
    return Report(
        ours,
        named,
        stock[0].name,
        stock[0].levels,
        own,
        problem.denoise.evaluations - before,
        int(np.prod(problem.denoise.shape)),
        {name: nfe for name, nfe in equivalent.items() if nfe is not None},
    )


def equivalent_evaluations(problem: Problem, error: float, family: Family, references: ReferenceSet) -> float | None:
    """Evaluations with which the best schedules of another sampler have an error, by interpolation of logarithms.

    Of the schedules for a number of evaluations the one with the smallest error on these noises counts, which flatters the other sampler.

    Args:
        problem: solver, model and range of what has the error.
        error: mean squared error on the references, > 0.
        family: the other sampler's schedules; the problem's solver runs them.
        references: noises and references.

    Returns:
        None where the other sampler has no schedules. The largest or smallest number that was tried, at most `NFE_MOST`, stands for all
        that is beyond.
    """
    solver, known = problem.solver, dict[int, float]()

    def smallest(steps: int) -> float:
        if steps not in known:
            schedules = family(steps) if steps > 1 and solver.evaluations(steps) <= NFE_MOST else []
            tried = replace(problem, steps=steps)
            known[steps] = float(tried.errors(schedules, references).mean(axis=1).min()) if schedules else np.inf
        return known[steps]

    start = problem.steps
    if not np.isfinite(smallest(start)) or error <= 0:
        return None
    up, before, steps = smallest(start) > error, start, start
    while (smallest(steps) > error) == up:
        before, width = steps, max(1, round(steps * (LADDER - 1)))
        steps = steps + width if up else steps - width
        if not np.isfinite(smallest(steps)):
            return float(solver.evaluations(before))
    errors = np.log([smallest(before), smallest(steps)])
    counts = np.log([solver.evaluations(before), solver.evaluations(steps)])
    return float(np.exp(counts[0] + (np.log(error) - errors[0]) / (errors[1] - errors[0]) * (counts[1] - counts[0])))
