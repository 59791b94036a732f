"""Does `detail = auto` pick a good value? `python -m benchmarks.auto_detail`: the race's pick against every candidate of the ladder.

For every model, solver and NFE the *pick* is what the race of `standard` found best, before refinement touched it, and the *answer* is what
the job gives, refined; *max* is the answer of `max`. The *ladder* is all that `ladder` proposes, off the grid as the race polishes it. All
are judged on 1,024 fresh noises that neither profile nor search nor judge has seen; what is surely worse than the best after 64, 128 or
more of them is not judged further. The best is known in hindsight, from those noises themselves.

Writes `docs/results/auto_detail.md`. Cells that the same code has measured before are kept in `out/bench/auto_detail/`.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ays_client.contract import Effort, JobRequest, Solver
from benchmarks.cases import KEPT, SOLVER_NAMES
from benchmarks.hosts import Nowhere, Shelf
from benchmarks.quality import MODELS, fresh, ratio
from benchmarks.records import Records, code_digest
from worker.ays.denoise import Evaluator
from worker.ays.ladder import Candidate, ladder, off_grid
from worker.ays.noise import Array
from worker.ays.schedule import stock_schedules
from worker.ays.solvers import SOLVERS
from worker.ays.validate import squared_errors
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry
from worker.tasks.pipeline import BATCH
from worker.tasks.stages import Stages
from worker.tasks.validation import Validator

COUNTS = (5, 8, 12)
HEATS = (0, 64, 128, 256, 512, 1024)
"""Fresh noises between which candidates are dropped."""
COMPARED = range(1024, 2048)
"""Those on which pick, answer and best are compared."""

_SURE = 4.0
"""Standard errors of the paired difference by which what is dropped is worse than the best."""
_NEAR = 1.05
"""Error beside the best's that counts as good as the best."""
_PAGE = Path("docs/results/auto_detail.md")
_NOTES = Path(__file__).with_name("auto_detail_notes.md")


@dataclass(frozen=True)
class Row:
    """One cell of the table; ratios of mean squared errors with their standard errors.

    Attributes:
        model: the model.
        solver: the method.
        nfe: evaluations.
        picked: what the pick was optimized for, or the name of a stock schedule.
        best: what the best of the ladder was optimized for.
        pick_over_ladder: the pick beside the best of the ladder.
        answer_over_ladder: the answer beside the best of the ladder.
        max_over_ladder: the same of `max`.
    """

    model: str
    solver: str
    nfe: int
    picked: str
    best: str
    pick_over_ladder: tuple[float, float]
    answer_over_ladder: tuple[float, float]
    max_over_ladder: tuple[float, float]


def measured(model_id: str, solver: str, nfe: int) -> Row:
    """One cell."""
    model = Registry(None).load(model_id)
    denoise = Evaluator(model.denoiser, batch=BATCH)
    request = JobRequest(model=model.id, nfe=nfe, solver=Solver(solver))
    profile, _ = Shelf().measured(request, model, denoise)
    candidates = off_grid(profile, ladder(profile, SOLVERS[solver], nfe, terminal="zero"))
    efforts = [request.model_copy(update={"effort": effort}) for effort in (Effort.STANDARD, Effort.MAX)]
    verdict, most = (Validator(each, model, profile, denoise, Stages(Nowhere())).search() for each in efforts)
    assert verdict.raced is not None
    best = in_hindsight(candidates, model, solver, denoise)
    noises = fresh(model, solver, denoise, COMPARED)
    levels = np.stack([verdict.raced, verdict.levels, most.levels, best.levels])
    *ours, least = squared_errors(SOLVERS[solver], denoise, levels, noises)
    names = named(verdict.raced, candidates, model, nfe), titled(best)
    return Row(model_id, solver, nfe, *names, *(ratio(errors, least) for errors in ours))


def in_hindsight(candidates: Sequence[Candidate], model: LoadedModel, solver: str, denoise: Evaluator) -> Candidate:
    """The candidate of least mean error."""
    alive, errors = list(candidates), np.zeros((len(candidates), 0))
    for start, stop in itertools.pairwise(HEATS):
        noises = fresh(model, solver, denoise, range(start, stop))
        new = squared_errors(SOLVERS[solver], denoise, np.stack([each.levels for each in alive]), noises)
        errors = np.concatenate([errors, new], axis=1)
        kept = possible(errors)
        alive, errors = list(itertools.compress(alive, kept)), errors[kept]
    return alive[int(errors.mean(axis=1).argmin())]


def possible(errors: Array) -> Array:
    """Which candidates may still be the best, from errors of shape (S, n); shape (S,)."""
    lead = errors - errors[errors.mean(axis=1).argmin()]
    return lead.mean(axis=1) <= _SURE * lead.std(axis=1, ddof=1) / np.sqrt(lead.shape[1])


def titled(candidate: Candidate) -> str:
    """What a candidate was optimized for."""
    choice = candidate.choice
    if choice is None:
        return candidate.name
    knee = "" if np.isinf(choice.knee) else f", knee {choice.knee:.2g}"
    bound = "" if choice.ratio_bound is None else f", ratio {choice.ratio_bound:g}"
    return f"p {choice.detail:g}{knee}{bound}" + candidate.name.removeprefix("optimized")


def named(levels: Array, candidates: Sequence[Candidate], model: LoadedModel, nfe: int) -> str:
    """What a schedule of the race was optimized for."""
    span = {"sigma_max": model.process.sigma_max, "sigma_min": model.process.sigma_min}
    stock = stock_schedules(nfe, **span, terminal="zero", process=model.process)
    known = [*((titled(each), each.levels) for each in candidates), *stock.items()]
    return next((name for name, other in known if np.array_equal(levels, other)), "imitation")


def kept(model: str, solver: str, nfe: int) -> Row:
    """A cell, measured once by the same code; in a file of its own, as several runs may share the cells."""
    records = Records(KEPT / "auto_detail" / f"{model}-{solver}-{nfe}.jsonl")
    digest = code_digest(["worker", "benchmarks/auto_detail.py", "benchmarks/quality.py"])
    return Row(**(records.get(digest) or records.put(asdict(measured(model, solver, nfe)), digest)))


def page(rows: Sequence[Row]) -> str:
    """The table, and what it says on the whole."""
    lines = ["# What `detail = auto` picks", "", "Regenerated by `python -m benchmarks.auto_detail`, which says what the words mean.", ""]
    lines += [
        "| error beside the best of the ladder | geometric mean | worst | at most 5 % more | more, by a standard error |",
        "|" + "---|" * 5,
    ]
    lines += [summary(rows, *ours) for ours in (("the pick", "pick"), ("the answer", "answer"), ("the answer of `max`", "max"))]
    head = ("model", "solver", "NFE", "pick", "best of the ladder", "pick / best", "answer / best", "max / best")
    lines += ["", _NOTES.read_text(), "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *map(line, rows)]
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Row], title: str, ours: str) -> str:
    """A line on all ratios of one kind."""
    value, error = np.array([getattr(row, f"{ours}_over_ladder") for row in rows]).T
    near, far = int((value <= _NEAR).sum()), int((value - error > _NEAR).sum())
    return f"| {title} | {np.exp(np.log(value).mean()):.3f} | {value.max():.2f} | {near} of {len(rows)} | {far} |"


def line(row: Row) -> str:
    """A line on one cell."""
    best = "the pick" if row.best == row.picked else row.best
    ratios = [f"{value:.3f} ± {error:.3f}" for value, error in (row.pick_over_ladder, row.answer_over_ladder, row.max_over_ladder)]
    return "| " + " | ".join([row.model, row.solver, str(row.nfe), row.picked, best, *ratios]) + " |"


def main() -> None:
    """Measure what was not measured; the page is written where nothing was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--solvers", nargs="*", default=SOLVER_NAMES)
    parser.add_argument("--counts", nargs="*", type=int, default=COUNTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    asked: tuple[Any, ...] = (tuple(args.models), tuple(args.solvers), tuple(args.counts))
    rows = [kept(*cell) for cell in itertools.product(*asked)]
    if asked == (MODELS, SOLVER_NAMES, COUNTS):
        _PAGE.write_text(page(rows))
    print("\n".join(map(line, rows)))


if __name__ == "__main__":
    main()
