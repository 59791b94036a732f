"""Is the number in the answer true? `make bench-calibration`: the interval of every report against the truth on fresh noises.

A cell is a model, a solver and a number of evaluations. For every seed it is answered as a job answers it: a profile, a search, a report.
The truth is the mean squared error of that answer on fresh noises, the same for all seeds, whose references are four times finer than a
report's at least. A 95 % interval is right where it covers the truth; as narrow as it is useful where its upper end is a few times its
lower one. The paired ratio to the best hand-made schedule is checked in the same way.

Writes `docs/results/calibration.md`. Finished work is kept in `out/bench/`, so that it can be done in parts.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ays_client.contract import Effort, JobRequest
from ays_client.contract import Solver as SolverName
from benchmarks.calibration_page import write_page
from benchmarks.cases import KEPT, load
from benchmarks.fresh import INTERVALS, FreshNoises, schedule_body, schedule_of
from benchmarks.hosts import Nowhere, Shelf
from benchmarks.records import Records, code_digest
from worker.ays.denoise import Evaluator
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, StockSchedules
from worker.ays.search.statistics import mean_interval, ratio_interval
from worker.ays.solvers import SOLVERS
from worker.tasks.pipeline import BATCH
from worker.tasks.stages import Stages
from worker.tasks.validation import Validated, Validation, with_weights

MODELS = {"mixture": 4096, "untuned-spiral": 4096, "gaussian": 1024, "digits": 512, "untuned-emoji-16": 128}
"""Models by their fresh noises. Those of the Gaussian in 512 dimensions hardly scatter; networks are judged on fewer, for want of time."""
SOLVER_NAMES = ("ddim", "dpmpp_2m", "unipc", "fitted", "sddim")
COUNTS = (5, 8, 12, 20)
SEEDS = 8

_ANSWERING = ("worker/ays", "worker/tasks/validation.py", "worker/tasks/measure.py", "benchmarks/calibration.py")
_TRUTH = ("worker/ays/paths.py", "worker/ays/solvers", "worker/ays/search/reference.py", "benchmarks/fresh.py")


@dataclass(frozen=True)
class Cell:
    """What is asked of a model.

    Attributes:
        solver: the method.
        nfe: evaluations.
    """

    solver: str
    nfe: int


class Calibration:
    """The cells of one model."""

    def __init__(self, model_id: str, effort: Effort, *, noises: int) -> None:
        """Prepare; the finished work of earlier runs is read."""
        self._model, self._effort, self._noises = load(model_id), effort, noises
        self._denoise = Evaluator(self._model.denoiser, batch=BATCH)
        self._shelves: dict[int, Shelf] = {}
        self._fresh = FreshNoises(self._model, self._denoise, noises=noises)
        self._records = Records(KEPT / f"calibration-{model_id}.jsonl")
        self._answering, self._truth = code_digest(_ANSWERING), code_digest(_TRUTH)

    def rows(self, cell: Cell, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """Answers of a cell with their truth, one for each seed; what is missing is computed."""
        answers = [self._answer(cell, seed) for seed in seeds]
        reported = [answer for answer in answers if answer["reported"] is not None]
        missing = [answer for answer in reported if self._known_truth(cell, answer) is None]
        if missing:
            self._find_truth(cell, missing)
        return [{**answer, **(self._known_truth(cell, answer) or {})} for answer in answers]

    def finished(self, cell: Cell, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """The rows that need no computation."""
        kept = [answer for seed in seeds if (answer := self._records.get(*self._answer_key(cell, seed))) is not None]
        known = [(answer, self._known_truth(cell, answer)) for answer in kept]
        return [{**answer, **(truth or {})} for answer, truth in known if truth is not None or answer["reported"] is None]

    def _answer_key(self, cell: Cell, seed: int) -> tuple[object, ...]:
        return ("answer", self._model.fingerprint, cell.solver, cell.nfe, seed, self._effort.value, self._answering)

    def _answer(self, cell: Cell, seed: int) -> dict[str, Any]:
        key = self._answer_key(cell, seed)
        kept = self._records.get(*key)
        if kept is not None:
            return kept
        name = SolverName(cell.solver)
        request = JobRequest(model=self._model.id, nfe=cell.nfe, solver=name, effort=self._effort, seed=seed + 1)
        started, before = time.process_time(), self._denoise.evaluations
        measured, shards = self._shelves.setdefault(seed, Shelf()).measured(request, self._model, self._denoise)
        profile = measured.of(SOLVERS[name].measure)
        validation = Validation(request, self._model, profile, self._denoise, Stages(Nowhere()))
        found = validation.search()
        stock = None if found.report is None else self._stock(found.report.best_stock, validation, profile)
        body = {**_reported(found, stock), "evaluations": self._denoise.evaluations - before}
        return self._records.put({**body, "seconds": time.process_time() - started + shards}, *key)

    def _stock(self, name: str, validation: Validation, profile: Profile) -> Candidate:
        """A hand-made schedule by its name, as the solver runs it."""
        problem = validation.problem
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        process, terminal = self._model.process, problem.terminal
        found = StockSchedules(profile, problem.solver, process, **span).candidates(problem.steps, terminal)
        return next(each for each in with_weights(problem, found) if each.name == name)

    def _truth_key(self, cell: Cell, answer: dict[str, Any]) -> tuple[object, ...]:
        return ("truth", self._model.fingerprint, cell.solver, self._noises, INTERVALS, self._truth, answer["ours"], answer["best_stock"])

    def _known_truth(self, cell: Cell, answer: dict[str, Any]) -> dict[str, Any] | None:
        return self._records.get(*self._truth_key(cell, answer))

    def _find_truth(self, cell: Cell, answers: Sequence[dict[str, Any]]) -> None:
        """Measure answers and the hand-made schedules beside them on the fresh noises."""
        solver = SOLVERS[cell.solver]
        candidates = [schedule_of(name, answer[name]) for answer in answers for name in ("ours", "best_stock")]
        errors = self._fresh.errors(solver, candidates)
        own = self._fresh.reference_error(solver)
        for answer, ours, stock in zip(answers, errors[::2], errors[1::2], strict=True):
            body = {"truth": float(ours.mean()), "true_ratio": float(ours.mean() / stock.mean()), "truth_reference_error": own}
            self._records.put(body, *self._truth_key(cell, answer))


def _reported(found: Validated, stock: Candidate | None) -> dict[str, Any]:
    """An answer with its report as JSON values."""
    report = found.report
    if report is None or stock is None:
        return {"ours": schedule_body(found.candidate), "best_stock": None, "reported": None, "reason": found.reason}
    best = report.stock[report.best_stock]
    return {
        "ours": schedule_body(found.candidate),
        "best_stock": schedule_body(stock),
        "reported": float(report.ours.mean()),
        "noises": len(report.ours),
        "interval": mean_interval(report.ours),
        "ratio": float(report.ours.mean() / best.mean()),
        "ratio_interval": ratio_interval(report.ours, best),
        "reference_error": report.reference_error,
    }


def cells(solvers: Sequence[str], counts: Sequence[int]) -> Iterator[Cell]:
    """All combinations."""
    return (Cell(solver, nfe) for nfe in counts for solver in solvers)


def main(arguments: list[str] | None = None) -> None:
    """Compute what is missing of the chosen cells, and write the page of all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=[*MODELS])
    parser.add_argument("--solvers", nargs="*", choices=SOLVERS, default=[*SOLVER_NAMES])
    parser.add_argument("--nfe", nargs="*", type=int, default=[*COUNTS])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--effort", choices=[Effort.STANDARD.value, Effort.MAX.value], default=Effort.STANDARD.value, help="with a report")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further cell after that long")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started, seeds = time.monotonic(), range(args.seeds)
    calibrations = {name: Calibration(name, Effort(args.effort), noises=MODELS[name]) for name in MODELS}
    for cell in cells(args.solvers, args.nfe):
        for name in args.models:
            if time.monotonic() - started < args.seconds:
                calibrations[name].rows(cell, seeds)
                sys.stderr.write(f"{name} {cell.solver} {cell.nfe}  {time.monotonic() - started:.0f} s\n")
    found = {
        (name, cell.solver, cell.nfe): rows
        for name, calibration in calibrations.items()
        for cell in cells(SOLVER_NAMES, COUNTS)
        if (rows := calibration.finished(cell, range(SEEDS)))
    }
    write_page(found, MODELS, args.out)


if __name__ == "__main__":
    main()
