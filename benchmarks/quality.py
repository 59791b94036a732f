"""How much better are the samples? `make bench-quality`: error against the reference, ours beside stock and a direct search.

For every model, solver and NFE the schedules come from the code that jobs run, at each effort. They are judged on 2,048 fresh noises
that neither profile nor search nor judge has seen, by the mean squared distance to the reference from the same noise (and the same
Brownian path). `stock` is the best hand-made schedule in hindsight, on the first 256 of those noises. `limit` is a direct numerical search
(Nelder-Mead over the evaluated levels, started at our schedule) on a part of those very noises: what no honest method can reach.
`screened` is the best candidate before a descent touched it.

Writes `docs/results/quality.md`, `quality.json` and `quality.png`.
"""

import argparse
import itertools
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from ays_client.contract import Effort, JobRequest, Solver
from benchmarks.cases import log_density
from benchmarks.hosts import Nowhere, Shelf
from benchmarks.ours import guarded
from benchmarks.report import write_report
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.cost import tabulate
from worker.ays.profile.profile import log_grid, measure_flow, merge
from worker.ays.schedule import stock_schedules
from worker.ays.search.reference import ReferenceSet, reference_grid, solve_reference, squared_errors
from worker.ays.search.search import Search
from worker.ays.search.shortest_path import solve
from worker.ays.search.weight import default_weight
from worker.ays.solvers import SOLVERS, sample
from worker.models.digits.data import digits
from worker.models.frechet import frechet_distance
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry
from worker.tasks.pipeline import BATCH
from worker.tasks.stages import Stages
from worker.tasks.validation import Validation

MODELS = ("digits", "mixture", "gaussian")
SOLVER_NAMES = ("ddim", "dpmpp_2m", "sddim", "dpmpp_2m_sde")
COUNTS = (4, 5, 6, 8, 10, 15, 20)
FRESH, CHUNK, FINE_INTERVALS = 2048, 256, 128
STOCK_HEATS = ((64, 2), (256, 1))
"""After so many noises so many stock schedules go on."""
LIMIT_COUNTS, LIMIT_TRIALS, LIMIT_NOISES = (5, 8), 50, 256
MAX_COUNTS = (8,)
SCREENED = {Effort.STANDARD: "screened", Effort.MAX: "screened by max"}
"""The best candidate of an effort, before any descent."""


@dataclass
class Cell:
    """Schedules of one model, solver and NFE by name, with their errors on every fresh noise."""

    levels: dict[str, Array]
    evaluations: dict[str, int]
    errors: dict[str, list[Array]] = field(default_factory=dict)
    samples: dict[str, list[torch.Tensor]] = field(default_factory=dict)


def schedules(model: LoadedModel, solver: str, nfe: int, shelf: Shelf, denoise: Evaluator) -> Cell:
    """What a job of every effort would answer, and the stock rules."""
    low, high = model.process.sigma_min, model.process.sigma_max
    levels = stock_schedules(nfe, sigma_max=high, sigma_min=low, terminal="zero", process=model.process)
    method = SOLVERS[solver]
    request = JobRequest(model=model.id, nfe=nfe, solver=Solver(solver))
    measured, _ = shelf.measured(request, model, denoise)
    profile = measured.of(method.measure)
    found = {f"stock {name}": value for name, value in levels.items()}
    before = denoise.evaluations
    found["fast"] = guarded(request, model, measured, denoise).levels
    evaluations = {"fast": denoise.evaluations - before}
    for effort in (Effort.STANDARD, Effort.MAX) if nfe in MAX_COUNTS else (Effort.STANDARD,):
        asked = request.model_copy(update={"effort": effort})
        problem = Validation(asked, model, profile, denoise, Stages(Nowhere())).problem
        first, *_, last = Search(problem, profile, model.process, effort.value, paths=shelf.paths).run()
        found[effort.value], evaluations[effort.value] = last.candidate.levels, last.evaluations
        found[SCREENED[effort]] = first.candidate.levels
    return Cell(found, evaluations)


def direct_search(model: LoadedModel, solver: str, start: Array, noises: ReferenceSet, denoise: Evaluator) -> Array:
    """Nelder-Mead over ln sigma of the evaluated levels on the error itself."""
    low, high = model.process.sigma_min, model.process.sigma_max

    def levels(z: Array) -> Array:
        return np.append(np.exp(z), start[-1])

    def objective(z: Array) -> float:
        candidate = levels(z)
        if np.any(np.diff(candidate) >= 0) or candidate[-2] < low or candidate[0] > high:
            return 1e9
        return float(squared_errors(SOLVERS[solver], denoise, candidate[None], noises).mean())

    free = len(start) - 1
    simplex = np.log(start[:-1])[None] - np.vstack([np.zeros(free), 0.15 * np.eye(free)])
    found = minimize(
        objective, simplex[0], method="Nelder-Mead", options={"maxfev": LIMIT_TRIALS, "initial_simplex": simplex, "adaptive": True}
    )
    return levels(found.x)


def run(task: tuple[str, bool]) -> list[dict[str, object]]:
    """All cells of one model and all its solvers of one kind, which share the references."""
    model_id, stochastic = task
    torch.set_num_threads(1)
    model = Registry(None).load(model_id)
    denoise = Evaluator(model.denoiser, batch=BATCH)
    shelf = Shelf()
    solvers = [name for name in SOLVER_NAMES if SOLVERS[name].stochastic == stochastic]
    cells = {(solver, nfe): schedules(model, solver, nfe, shelf, denoise) for solver in solvers for nfe in COUNTS}
    first = fresh(model, solvers[0], denoise, range(LIMIT_NOISES))
    for (solver, nfe), cell in cells.items():
        if nfe in LIMIT_COUNTS:
            best = cell.levels[Effort.MAX.value if nfe in MAX_COUNTS else Effort.STANDARD.value]
            cell.levels["limit"] = direct_search(model, solver, best, first, denoise)
    edges = sorted({*(heat for heat, _ in STOCK_HEATS), *range(0, FRESH + 1, CHUNK)})
    for start, stop in itertools.pairwise(edges):
        noises = first.part(start, stop) if stop <= LIMIT_NOISES else fresh(model, solvers[0], denoise, range(start, stop))
        for (solver, _), cell in cells.items():
            drop_stock(cell, start)
            judge(cell, solver, noises, denoise)
    return [summary(model, solver, nfe, cell) for (solver, nfe), cell in cells.items()]


def fresh(model: LoadedModel, solver: str, denoise: Evaluator, indices: range) -> ReferenceSet:
    """Noises that neither search nor judge has seen, with their references."""
    fine = reference_grid(model.process.sigma_max, model.process.sigma_min, FINE_INTERVALS)
    drawn: dict[str, Any] = {"indices": indices, "seed": 0, "stream": Stream.FRESH}
    return solve_reference(SOLVERS[solver], denoise, denoise.shape, levels=fine, terminal="zero", **drawn)


def drop_stock(cell: Cell, judged: int) -> None:
    """After each heat only the better stock schedules go on, so that the best in hindsight is known at the price of two."""
    stock = sorted((name for name in cell.errors if name.startswith("stock")), key=lambda name: np.concatenate(cell.errors[name]).mean())
    for heat, kept in STOCK_HEATS:
        if judged == heat:
            for name in stock[kept:]:
                del cell.levels[name], cell.errors[name], cell.samples[name]


def judge(cell: Cell, solver: str, noises: ReferenceSet, denoise: Evaluator) -> None:
    """Errors on some of the noises, and the samples; what several names have in common is sampled once."""
    levels, of_name = np.unique(np.stack([*cell.levels.values()]), axis=0, return_inverse=True)
    samples = sample(SOLVERS[solver], denoise, levels, noises.noise, brownian=noises.brownian)
    errors = (samples - noises.reference).flatten(2).square().sum(2).numpy()
    for name, index in zip(cell.levels, of_name, strict=True):
        cell.errors.setdefault(name, []).append(errors[index])
        cell.samples.setdefault(name, []).append(samples[index].float())
    cell.samples.setdefault("fine", []).append(noises.reference.float())


def summary(model: LoadedModel, solver: str, nfe: int, cell: Cell) -> dict[str, object]:
    """Means with standard errors, ratios on paired noises, and the quality of the distribution."""
    errors = {name: np.concatenate(parts) for name, parts in cell.errors.items()}
    stock = min((name for name in errors if name.startswith("stock")), key=lambda name: errors[name].mean())
    kept = {stock, "limit", *SCREENED.values(), *(effort.value for effort in Effort)} & set(errors)
    means = {name: (float(errors[name].mean()), float(errors[name].std(ddof=1) / np.sqrt(FRESH))) for name in kept}
    ratios = {name: ratio(errors[name], errors[stock]) for name in kept - {stock}}
    refined = {effort.value: ratio(errors[effort.value], errors[name]) for effort, name in SCREENED.items() if name in errors}
    kinds = {name: distribution(model, torch.cat(cell.samples[name])) for name in [*kept, "fine"]}
    body = {"model": model.id, "solver": solver, "nfe": nfe, "stock": stock, "errors": means, "ratios": ratios, "distribution": kinds}
    return {**body, "refined": refined, "evaluations": cell.evaluations}


def ratio(ours: Array, stock: Array) -> tuple[float, float]:
    """Ratio of means on the same noises and its standard error (delta method)."""
    value = ours.mean() / stock.mean()
    return float(value), float((ours - value * stock).std(ddof=1) / np.sqrt(len(ours)) / stock.mean())


def distribution(model: LoadedModel, samples: torch.Tensor) -> float | None:
    """Frechet distance to held-out digits, negative log-likelihood for the mixture."""
    if model.id == "digits":
        return frechet_distance(samples, digits()[1])
    if model.id == "mixture":
        density = log_density(model)
        return None if density is None else float(-density(samples).mean())
    return None


def cost(model_id: str) -> dict[str, float]:
    """Seconds of a profile beside bare forward passes of the same number and batch, and of solving for every N up to 64."""
    torch.set_num_threads(1)
    model = Registry(None).load(model_id)
    denoise = Evaluator(model.denoiser, batch=BATCH)
    levels = log_grid(model.process.sigma_max, model.process.sigma_min, 64)
    x = starting_noise(denoise.shape, range(16), seed=0, stream=Stream.PROBE).to(model.denoiser.dtype)
    sigma = torch.ones(16, dtype=model.denoiser.dtype)
    profile, bare = [], []
    for _ in range(5):
        started = time.perf_counter()
        measure_flow(denoise, denoise.shape, levels, range(16), seed=0)
        profile.append(time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(64):
            model.denoiser.denoise(x, sigma)
        bare.append(time.perf_counter() - started)
    shard, _ = measure_flow(denoise, denoise.shape, levels, range(16), seed=0)
    started = time.perf_counter()
    profiled = merge([shard])
    weight = default_weight(profiled, SOLVERS["dpmpp_2m"])
    table = tabulate(weight.cost(profiled, SOLVERS["dpmpp_2m"]))
    solve(table, steps_max=64, to_zero=True, ratio_bound=weight.ratio_bound)
    solving = time.perf_counter() - started
    ours, theirs = float(np.median(profile)), float(np.median(bare))
    return {"evaluations": 16 * 64, "seconds": ours, "bare_seconds": theirs, "over_bare": ours / theirs, "solve_seconds": solving}


def main() -> None:
    """Run everything on two processes and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--models", nargs="*", default=MODELS)
    args = parser.parse_args()
    started = time.monotonic()
    costs = {model: cost(model) for model in args.models}
    tasks = [(model, stochastic) for model in args.models for stochastic in (True, False)]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        cells = [cell for rows in pool.map(run, tasks) for cell in rows]
    args.out.mkdir(parents=True, exist_ok=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = {"seconds": time.monotonic() - started, "cpu_seconds": spent.ru_utime + spent.ru_stime, "processes": args.processes}
    body = {"cells": cells, "costs": costs, **seconds, "fresh_noises": FRESH}
    (args.out / "quality.json").write_text(json.dumps(body, indent=1))
    write_report(body, args.out)


if __name__ == "__main__":
    main()
