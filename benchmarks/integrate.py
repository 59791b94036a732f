"""What a schedule does to a pipeline: `python -m benchmarks.integrate MODEL`, a table and a picture for docs/integrate.md.

The bundled models at 8 evaluations, each pipeline called the same way every time: `digits` in stock pipelines of diffusers, `fashion` in
the pipeline of `examples/edm_pipeline.py`. The error is the squared distance of a sample to the fine solution from the same starting
noise, summed over pixels, with its standard error; a scheduler that adds noise of its own has none. For the digits the Frechet distance
to held-out ones (raw pixels) compares all of them.

The schedules are those of the code that a worker runs; they are kept in out/integrate.jsonl until that code changes.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from types import ModuleType

from ays_client import Solver
from ays_client.contract import JobRequest, Schedule
from benchmarks import digits_pipelines, fashion_pipelines
from benchmarks.records import Records, code_digest
from benchmarks.rows import draw, table
from worker.models.registry import Registry
from worker.process.local import LocalHost
from worker.tasks.pipeline import optimize

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MODELS: dict[str, tuple[ModuleType, Path]] = {
    "digits": (digits_pipelines, IMAGES / "integrate.png"),
    "fashion": (fashion_pipelines, IMAGES / "integrate-fashion.png"),
}
NFE = 8


def optimized(model: str, solver: str, kept: Records) -> Schedule:
    """The schedule that a job would answer."""
    key = model, solver, NFE, code_digest(["ays_client", "worker"])
    found = kept.get(*key)
    if found is None:
        with contextlib.redirect_stdout(sys.stderr):  # The progress.
            outcome = optimize(JobRequest(model=model, nfe=NFE, solver=Solver(solver)), Registry(None).load(model), LocalHost())
        found = kept.put(outcome.requested.model_dump(mode="json"), *key)
    return Schedule.model_validate(found)


def main() -> None:
    """Optimize, sample, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("--out", type=Path, help="PNG to write, instead of the one in docs/images/")
    args = parser.parse_args()
    way, picture = MODELS[args.model]
    kept = Records(Path("out/integrate.jsonl"))
    schedules = {solver: optimized(args.model, solver, kept) for solver in way.SOLVERS_ASKED}
    sys.stderr.write(json.dumps({solver: schedule.sigmas for solver, schedule in schedules.items()}) + "\n")
    rows = way.rows(schedules, NFE)
    draw(rows, args.out or picture)
    sys.stdout.write(table(rows, NFE))


if __name__ == "__main__":
    main()
