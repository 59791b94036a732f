"""How many evaluations do fitted weights save? `make bench-fitted`: the fitted solver against fixed ones with their best schedules.

For every model and number of evaluations the fitted solver answers at `fast` and `standard`, five fixed solvers at `standard`, and every
hand-made schedule runs with each of these five. All are judged on the same fresh noises. The best fixed answer and the best hand-made
schedule are chosen by their error on the first half of the noises; every error is of the second half. Frechet distances and likelihoods
are of all noises, which favours what was chosen on some of them.

Writes `docs/results/fitted.md`. Finished work is kept in `out/bench/`, so that it can be done in parts.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import KEPT, judge_of, load, log_density
from benchmarks.fitted_page import FAST, FITTED, STOCK, write_page
from benchmarks.fresh import FreshNoises, schedule_body, schedule_of
from benchmarks.ours import Ours
from benchmarks.records import Records, code_digest
from worker.ays.denoise import Evaluator
from worker.ays.schedule import stock_schedules
from worker.ays.search.candidates import Candidate
from worker.ays.solvers import SOLVERS
from worker.models.frechet import frechet_distance

FIXED = ("dpmpp_2m", "dpmpp_3m", "unipc", "unipc_3", "deis")
COUNTS = (4, 5, 6, 8, 10, 12, 16, 20)
GROUPS = 16
"""Groups of noises that are left out in turn, for the standard error of a difference of Frechet distances."""
SCREENING = 64
"""Noises that tell the hand-made schedules that run on all."""
KEPT_STOCK = 3

_BATCH = 256
_LARGEST = 64
"""Dimensions up to which samples are compared as they are; larger ones need features."""
_SOLVING = ("worker/ays", "worker/tasks", "benchmarks/ours.py")
_JUDGING = ("worker/ays/paths.py", "worker/ays/solvers", "worker/ays/search/reference.py", "benchmarks/fresh.py")


@dataclass(frozen=True)
class Budget:
    """How well a model is measured.

    Attributes:
        noises: fresh noises.
        intervals: of their references.
    """

    noises: int
    intervals: int = 512


MODELS = {
    "mixture": Budget(4096),
    "untuned-spiral": Budget(4096),
    "gaussian-3072": Budget(128, 256),
    "digits": Budget(512, 256),
    "untuned-emoji-16": Budget(512, 256),
}
"""Models, those with cheap evaluations first."""


class Fits:
    """The answers of one model, judged."""

    def __init__(self, model_id: str, budget: Budget, *, seed: int) -> None:
        """Prepare; the finished work of earlier runs is read."""
        self._model, self._budget, self._seed = load(model_id), budget, seed
        denoise = Evaluator(self._model.denoiser, batch=_BATCH)
        self._ours = Ours(self._model, seed=seed)
        self._fresh = FreshNoises(self._model, denoise, noises=budget.noises, intervals=budget.intervals)
        self._records = Records(KEPT / f"fitted-{model_id}.jsonl")
        self._solving, self._judging = code_digest(_SOLVING), code_digest(_JUDGING)

    def rows(self, nfe: int) -> list[dict[str, Any]]:
        """Every answer at a number of evaluations; what is missing is computed."""
        asked = [(FAST, "fitted"), (FITTED, "fitted"), *((name, name) for name in FIXED)]
        answers = [self._answer(name, solver, nfe) for name, solver in asked]
        rows = [
            {**answer, **self._judged(answer["solver"], schedule_of(answer["name"], answer))} for answer in [*answers, *self._stock(nfe)]
        ]
        return self._records.put({"rows": rows}, *self._key(nfe))["rows"]

    def finished(self, nfe: int) -> list[dict[str, Any]]:
        """The rows that need no computation."""
        kept = self._records.get(*self._key(nfe))
        return [] if kept is None else kept["rows"]

    def floors(self) -> dict[str, Any]:
        """Error of the references, and the likelihood of the references themselves."""
        key = ("floors", *self._base())
        kept = self._records.get(*key)
        if kept is not None:
            return kept
        solver = SOLVERS["dpmpp_2m"]
        body = {"reference_error": self._fresh.reference_error(solver), "nll": self._likelihood(self._fresh.references(solver))}
        return self._records.put(body, *key)

    def _base(self) -> tuple[object, ...]:
        return self._model.fingerprint, self._budget.noises, self._budget.intervals, self._judging

    def _key(self, nfe: int) -> tuple[object, ...]:
        return ("rows", nfe, self._seed, *self._base(), self._solving)

    def _answer(self, name: str, solver: str, nfe: int) -> dict[str, Any]:
        key = ("answer", self._model.fingerprint, name, nfe, self._seed, self._solving)
        kept = self._records.get(*key)
        if kept is not None:
            return kept
        found = self._ours.schedule("fast" if name == FAST else "standard", nfe, solver)
        body = {**schedule_body(Candidate(name, found.levels, weights=found.weights)), "name": name, "solver": solver}
        return self._records.put({**body, "evaluations": found.evaluations, "seconds": found.seconds}, *key)

    def _stock(self, nfe: int) -> list[dict[str, Any]]:
        """The hand-made schedules, with any of the fixed solvers, that are best on a few noises."""
        key = ("stock", nfe, *self._base())
        kept = self._records.get(*key)
        if kept is not None:
            return kept["found"]
        process = self._model.process
        stock = stock_schedules(nfe, sigma_max=process.sigma_max, sigma_min=process.sigma_min, terminal="zero", process=process)
        candidates = [Candidate(name, levels, stock=True) for name, levels in stock.items()]
        few = min(SCREENING, self._budget.noises // 2)
        scored = []
        for solver in FIXED:
            part = next(self._fresh.parts(SOLVERS[solver])).part(0, few)
            errors = self._fresh.problem(SOLVERS[solver], nfe).errors(candidates, part).mean(axis=1)
            scored += [(float(error), solver, each) for error, each in zip(errors, candidates, strict=True)]
        best = sorted(scored, key=lambda each: each[0])[:KEPT_STOCK]
        found = [{**schedule_body(each), "name": f"{STOCK}{each.name}", "solver": solver} for _, solver, each in best]
        return self._records.put({"found": [{**each, "evaluations": 0, "seconds": 0.0} for each in found]}, *key)["found"]

    def _judged(self, solver: str, candidate: Candidate) -> dict[str, Any]:
        key = ("judged", solver, schedule_body(candidate), *self._base())
        kept = self._records.get(*key)
        if kept is not None:
            return kept
        method = SOLVERS[solver]
        samples, references = self._fresh.samples(method, candidate), self._fresh.references(method)
        errors = (samples - references).flatten(1).square().sum(1)
        body = {"errors": errors.tolist(), "frechet": self._frechet(samples, references), "nll": self._likelihood(samples)}
        return self._records.put(body, *key)

    def _frechet(self, samples: Tensor, references: Tensor) -> list[float] | None:
        """Squared Frechet distances to the references: of all, then with each group of noises left out."""
        judge = judge_of(self._model.id)
        if judge is None and samples[0].numel() > _LARGEST:
            return None
        x, y = (each if judge is None else judge.features(each) for each in (samples, references))
        group = torch.arange(len(x)) % GROUPS
        return [frechet_distance(x[rows], y[rows]) for rows in (group >= 0, *(group != left for left in range(GROUPS)))]

    def _likelihood(self, samples: Tensor) -> list[float] | None:
        """Negative log-density of the samples, in nats, with its standard error; None where it is not known."""
        density = log_density(self._model)
        if density is None:
            return None
        values = -density(samples).numpy()
        return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]


def finished(fits: dict[str, Fits], counts: Iterable[int]) -> dict[str, dict[int, Sequence[dict[str, Any]]]]:
    """Finished rows by model and number of evaluations."""
    return {name: {nfe: rows for nfe in counts if (rows := each.finished(nfe))} for name, each in fits.items()}


def main(arguments: list[str] | None = None) -> None:
    """Compute what is missing of the chosen cells, and write the page of all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=[*MODELS])
    parser.add_argument("--nfe", nargs="*", type=int, default=[*COUNTS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further cell after that long")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.monotonic()
    fits = {name: Fits(name, budget, seed=args.seed) for name, budget in MODELS.items()}
    for name in args.models:
        for nfe in args.nfe:
            if time.monotonic() - started < args.seconds:
                if not fits[name].finished(nfe):
                    fits[name].rows(nfe)
                sys.stderr.write(f"{name} {nfe}  {time.monotonic() - started:.0f} s\n")
    found = {name: cells for name, cells in finished(fits, COUNTS).items() if cells}
    write_page(found, {name: fits[name].floors() for name in found}, {name: MODELS[name].noises for name in found}, args.out)


if __name__ == "__main__":
    main()
