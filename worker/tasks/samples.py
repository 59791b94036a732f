"""What a schedule does to samples: the same noises under the best stock schedule, under this one, and solved finely."""

import base64
import math

import numpy as np
import torch
from torch import Tensor

from ays_client.contract import Schedule
from ays_client.samples import SampleGrid
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.schedule import Terminal, moved_ends, stock_schedules
from worker.ays.search.reference import reference_grid, solve_reference
from worker.ays.solvers import HISTORY, SOLVERS, sample
from worker.ays.solvers.fitted import printed_weights
from worker.models.loaded import LoadedModel
from worker.tasks.png import png

NOISES = 8
"""Samples in a row of the stored picture."""

FINE_INTERVALS = 128
"""Intervals of the reference in it."""

STOCK_SOLVER = "dpmpp_2m"
"""The method whose weights the fitted solver has on a stock schedule."""

LARGEST = 64
"""Larger samples are averaged down to at most this many pixels a side: the picture is for a person, and is kept for ever."""


def rows(
    schedule: Schedule, model: LoadedModel, denoise: Evaluator, *, count: int, intervals: int
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Sample the best stock schedule and a schedule from the same noises.

    Args:
        schedule: the schedule.
        model: its model.
        denoise: evaluator of that model.
        count: number of noises; none of them was seen by the optimizer.
        intervals: intervals of the reference's grid.

    Returns:
        Samples by label (`stock`, `ours`, `fine`), each of shape (count, *shape), and the mean squared distance of the first two to
        the third.
    """
    solver = SOLVERS[schedule.solver]
    noises = solve_reference(
        solver,
        denoise,
        denoise.shape,
        levels=reference_grid(schedule.sigma_max, schedule.sigma_min, intervals),
        terminal=_terminal(schedule),
        indices=range(count),
        seed=schedule.provenance.seed,
        stream=Stream.FRESH,
    )
    both = np.stack([_best_stock(schedule, model), np.asarray(schedule.sigmas)])
    weights = None
    if schedule.weights is not None:
        padded = np.zeros((schedule.steps, HISTORY))
        for step, row in enumerate(schedule.weights):
            padded[step, : len(row)] = row
        weights = np.stack([printed_weights(SOLVERS[STOCK_SOLVER], both[0]), padded])
    stock, ours = sample(solver, denoise, both, noises.noise, brownian=noises.brownian, weights=weights)
    samples = {"stock": stock, "ours": ours, "fine": noises.reference}
    return samples, {label: _distance(samples[label], noises.reference) for label in ("stock", "ours")}


def best_stock_name(schedule: Schedule) -> str:
    """Name of the stock schedule with the smallest validation error; EDM's where nothing was validated."""
    if schedule.error is None:
        return "edm"
    return schedule.error.best_stock or "edm"


def sample_grid(schedule: Schedule, model: LoadedModel, denoise: Evaluator) -> SampleGrid | None:
    """Draw the picture that is stored beside a schedule.

    Args:
        schedule: the schedule.
        model: its model.
        denoise: evaluator of that model.

    Returns:
        None where samples are not grey or colour images.
    """
    if len(denoise.shape) != 3 or denoise.shape[0] not in {1, 3}:
        return None
    before = denoise.evaluations
    samples, errors = rows(schedule, model, denoise, count=NOISES, intervals=FINE_INTERVALS)
    pictures = torch.stack([_small(samples[label]) for label in ("stock", "ours", "fine")])
    return SampleGrid(
        schedule_id=schedule.id,
        rows=["stock", "ours", "fine"],
        stock=best_stock_name(schedule),
        errors={"stock": errors["stock"], "ours": errors["ours"]},
        noises=NOISES,
        height=pictures.shape[3],
        width=pictures.shape[4],
        evaluations=denoise.evaluations - before,
        image=f"data:image/png;base64,{base64.b64encode(png(_sheet(pictures))).decode()}",
    )


def _small(images: Tensor) -> Tensor:
    factor = math.ceil(max(images.shape[2:]) / LARGEST)
    return images if factor == 1 else torch.nn.functional.avg_pool2d(images, factor, ceil_mode=True)


def _sheet(pictures: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Images of shape (rows, n, channels, height, width) in [-1, 1] as one, shape (rows height, n width, channels)."""
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    rows_, count, channels, height, width = pixels.shape
    return pixels.permute(0, 3, 1, 4, 2).reshape(rows_ * height, count * width, channels).cpu().numpy()


def _best_stock(schedule: Schedule, model: LoadedModel) -> Array:
    if schedule.error is not None and schedule.error.best_stock_sigmas is not None:
        return np.asarray(schedule.error.best_stock_sigmas)
    span = {"sigma_max": schedule.sigma_max, "sigma_min": schedule.sigma_min}
    found = stock_schedules(schedule.steps, **span, terminal=_terminal(schedule), process=model.process)
    found |= moved_ends(schedule.steps, **span, terminal=_terminal(schedule))
    return found[best_stock_name(schedule)]


def _terminal(schedule: Schedule) -> Terminal:
    return "zero" if schedule.sigmas[-1] == 0 else "sigma_min"


def _distance(samples: Tensor, reference: Tensor) -> float:
    return float((samples - reference).square().flatten(1).sum(1).mean())
