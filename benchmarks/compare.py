"""Ours against everybody: `make bench`. Writes `docs/results.md` and its plots; goes on where an earlier run stopped.

Every method answers with a schedule for every model, solver and number of evaluations, from noises of its own seed. All are judged on the
same fresh noises, which no method has seen, by the squared distance of their samples to the reference from the same noise (and Brownian
path), and by the quality of the samples as a set. Methods without any randomness are run once, the others once for each seed.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.baselines import BASELINES, Problem, direct, schedule
from benchmarks.cases import CASES, KEPT, QUICK, UNTUNED_CASES, Case, load
from benchmarks.judging import Bench
from benchmarks.ours import Ours
from benchmarks.records import ROOT, Records, code_digest
from benchmarks.results import write_results
from worker.ays.noise import VP
from worker.ays.solvers import SOLVERS

LIMIT = "direct"
OURS = ("fast", "standard")
UNSEEDED = {"edm", "log_snr", "time_uniform", "trailing", "leading", "beta", "published_sd15", "published_sdxl", "published_svd", "dmn"}
"""Methods that draw nothing: one seed tells all."""

VP_ONLY = {"trailing", "leading"}

_SOLVING = (
    "worker/ays",
    "worker/tasks/guard.py",
    "worker/tasks/validation.py",
    "worker/tasks/measure.py",
    "worker/tasks/table.py",
    "benchmarks/ours.py",
    "benchmarks/rough.py",
)
_SHARED = ("benchmarks/baselines/problem.py", "benchmarks/baselines/teacher.py")
_JUDGING = (
    "worker/ays/paths.py",
    "worker/ays/search/reference.py",
    "benchmarks/judging.py",
    "benchmarks/fresh.py",
    "benchmarks/rough.py",
    "benchmarks/classifier.py",
)


@dataclass(frozen=True)
class Task:
    """The cells of one model and one kind of solver, which share references, teachers and a profile.

    Attributes:
        case: the model.
        stochastic: kind of the solvers.
        seconds: the task stops before its next cell once it has run that long.
    """

    case: Case
    stochastic: bool
    seconds: float

    @property
    def cells(self) -> list[tuple[int, str]]:
        """Its numbers of evaluations and solvers."""
        return [(nfe, solver) for nfe, solver in self.case.cells if SOLVERS[solver].stochastic == self.stochastic]

    @property
    def records(self) -> Path:
        """Where its finished work is kept."""
        return KEPT / f"{self.case.id}-{'sde' if self.stochastic else 'ode'}.jsonl"


def asked(case: Case, nfe: int) -> Iterator[tuple[str, int]]:
    """Methods and seeds of a cell."""
    process = load(case.id).process
    for name in (*BASELINES, *OURS):
        if (name in VP_ONLY and not isinstance(process, VP)) or (name == LIMIT and nfe not in case.limits):
            continue
        for seed in case.seeds[:1] if name in UNSEEDED or name == LIMIT else case.seeds:
            yield name, seed


def _digest(name: str) -> str:
    """Digest of the code that a method's schedules depend on."""
    if name in OURS:
        return code_digest(_SOLVING)
    if name == LIMIT:
        return code_digest(["benchmarks/baselines"])
    own = f"benchmarks/baselines/{name}.py"
    return code_digest([own if (ROOT / own).exists() else "benchmarks/baselines/stock.py", *_SHARED])


class OutOfTimeError(Exception):
    """A cell needs more than what earlier runs have finished, and the time is over."""


class Clock:
    """How long a task has run, and whether it may begin something new."""

    def __init__(self, seconds: float) -> None:
        """Start."""
        self._start, self._seconds = time.monotonic(), seconds

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def check(self) -> None:
        """Raise unless there is time left.

        Raises:
            OutOfTimeError: there is none.
        """
        if self.elapsed > self._seconds:
            raise OutOfTimeError


class Solving:
    """Schedules of every method on one model, remembered."""

    def __init__(self, task: Task, records: Records, clock: Clock) -> None:
        """Prepare; models are shared by all methods of a seed."""
        self._case, self._records, self._clock = task.case, records, clock
        model = load(task.case.id)
        self._problems = {seed: Problem.of(model, seed=seed + 1) for seed in task.case.seeds}
        self._ours = {seed: Ours(model, seed=seed + 1) for seed in task.case.seeds}
        self._digests = {name: _digest(name) for name in (*BASELINES, *OURS)}

    def found(self, name: str, seed: int, solver: str, nfe: int) -> dict[str, Any]:
        """Levels, evaluations and seconds of a method."""
        # A limit must not be one of its own local minima: it also descends from our answer.
        start = [self.found(OURS[-1], seed, solver, nfe)["levels"]] if name == LIMIT else []
        key = ("schedule", load(self._case.id).fingerprint, name, seed, solver, nfe, self._digests[name], *start)
        kept = self._records.get(*key)
        if kept is not None:
            return kept
        self._clock.check()
        if name in OURS:
            answer = self._ours[seed].schedule(name, nfe, solver)
        elif name == LIMIT:
            method = partial(direct.schedule, more=tuple(np.array(levels) for levels in start))
            answer = self._problems[seed].solve(method, nfe, SOLVERS[solver])
        else:
            answer = schedule(name, self._problems[seed], nfe, SOLVERS[solver])
        body = {"levels": answer.levels.tolist(), "evaluations": answer.evaluations, "seconds": answer.seconds}
        return self._records.put(body, *key)


def run(task: Task) -> dict[str, Any]:
    """All cells of a task that earlier runs have finished or that fit into its time, with the quality of the references."""
    torch.set_num_threads(1)
    records, clock = Records(task.records), Clock(task.seconds)
    solving, judging = Solving(task, records, clock), Judging(task, records, clock)
    cells: list[dict[str, Any]] = []
    for nfe, solver in task.cells:
        with suppress(OutOfTimeError):
            cells.append(_cell(task, solver, nfe, solving, judging))
            sys.stderr.write(f"{task.case.id} {solver} {nfe}  {clock.elapsed:.0f} s\n")
            sys.stderr.flush()
    return {"cells": cells, "fine": judging.fine()}


class Judging:
    """Judgements of the schedules of a task, remembered."""

    def __init__(self, task: Task, records: Records, clock: Clock) -> None:
        """Prepare; nothing is solved before the first schedule that is not yet judged."""
        self._records, self._clock = records, clock
        self._bench = Bench(task.case, stochastic=task.stochastic)
        self._base = (load(task.case.id).fingerprint, task.case.noises, code_digest(_JUDGING))

    def judged(self, solver: str, schedules: list[list[float]]) -> list[dict[str, Any]]:
        """Errors and quality of schedules of one cell; those not yet judged are judged together."""
        keys = [("judged", *self._base, solver, levels) for levels in schedules]
        unknown = [key for key in keys if self._records.get(*key) is None]
        if unknown:
            self._clock.check()
            for key, found in zip(unknown, self._bench.judge(solver, [key[-1] for key in unknown]), strict=True):
                self._records.put(found, *key)
        return [body for key in keys if (body := self._records.get(*key)) is not None]

    def fine(self) -> float | None:
        """Quality of the references; None where it is not known and there is no time to find out."""
        kept = self._records.get("fine", *self._base)
        if kept is None:
            with suppress(OutOfTimeError):
                self._clock.check()
                kept = self._records.put({"quality": self._bench.fine()}, "fine", *self._base)
        return None if kept is None else kept["quality"]


def _cell(task: Task, solver: str, nfe: int, solving: Solving, judging: Judging) -> dict[str, Any]:
    """One cell: every method's schedule, and what it is worth."""
    methods = list(asked(task.case, nfe))
    found = [solving.found(name, seed, solver, nfe) for name, seed in methods]
    judged = judging.judged(solver, [each["levels"] for each in found])
    parts = zip(methods, found, judged, strict=True)
    rows = [{"method": name, "seed": seed, **answer, **verdict} for (name, seed), answer, verdict in parts]
    return {"model": task.case.id, "solver": solver, "nfe": nfe, "rows": rows}


def main(arguments: list[str] | None = None) -> None:
    """Run all cells on several processes and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of results.md")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--models", nargs="*", help="only these; their finished cells are kept for the next run")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing new after that long; the report has what is finished")
    parser.add_argument("--quick", action="store_true", help="two models, one number of evaluations: about two minutes")
    args = parser.parse_args(arguments)
    cases = [case for case in (QUICK if args.quick else (*CASES, *UNTUNED_CASES)) if not args.models or case.id in args.models]
    tasks = [Task(case, stochastic, args.seconds) for case in cases for stochastic in (True, False)]
    tasks = [task for task in tasks if task.cells]
    for case in cases:
        load(case.id)  # a rough network is trained once, not by every process
    started = time.monotonic()
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(run, tasks))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    body = {
        "cells": [cell for part in found for cell in part["cells"]],
        "fine": {(task.case.id, task.stochastic): part["fine"] for task, part in zip(tasks, found, strict=True)},
        "cases": cases,
        "wanted": sum(len(task.cells) for task in tasks),
        "seconds": time.monotonic() - started,
        "cpu_seconds": spent.ru_utime + spent.ru_stime,
    }
    write_results(body, args.out)


if __name__ == "__main__":
    main()
