"""`python -m worker.tasks.picture SCHEDULE.json OUT.png`: what a schedule does to samples.

Two rows of samples from the same starting noises, at the schedule's number of evaluations: the best stock schedule above, this one
below, then the fine solution that both aim at, and under each of the two where it misses that. Their errors are the report's; of a schedule
without a report, those of the samples. Needs the `picture` extra.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ays_client.contract import Estimate, Schedule, Source
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry
from worker.tasks.samples import STOCK_SOLVER, best_stock_name, rows

COLUMNS = 16
"""Samples in a row."""

_FINE_LEVELS = 128
_BATCH = 256
_FULL_RED = 0.5
_INK, _PAPER, _MUTED, _GOOD = "#1a1a1a", "#ffffff", "#8a8a8a", "#0a7d4f"


def draw(schedule: Schedule, model: LoadedModel, path: Path) -> None:
    """Write the picture.

    Args:
        schedule: the schedule.
        model: its model: grey or colour images, or points in the plane.
        path: where the PNG goes.

    Raises:
        ValueError: the samples are neither images nor points in the plane.
    """
    planar = model.denoiser.shape == (2,)
    count, denoise = 2048 if planar else COLUMNS, Evaluator(model.denoiser, batch=_BATCH)
    samples, errors = rows(schedule, model, denoise, count=count, intervals=_FINE_LEVELS)
    mpl.rcParams.update({"font.family": "DejaVu Sans", "savefig.dpi": 160})
    (_draw_points if planar else _draw_images)(schedule, samples, errors, path)


def titles(schedule: Schedule, errors: dict[str, float]) -> dict[str, str]:
    """What stands above the rows.

    Args:
        schedule: the schedule.
        errors: of the samples in the picture, for a schedule without a report.

    Returns:
        Titles of the rows `stock`, `ours` and `fine`.
    """
    name, error = best_stock_name(schedule), schedule.error
    rival = "the best stock schedule" if error is not None else "a stock schedule"
    method = f", {STOCK_SOLVER} weights" if schedule.weights is not None else ""
    answer = "fitted levels and weights" if schedule.weights is not None else "optimized"
    ours = answer if schedule.source is Source.OPTIMIZED else f"served: {schedule.provenance.candidate}"
    words = {label: f"error of these samples {value:.3g}" for label, value in errors.items()}
    if error is not None:
        words = {"ours": _estimate(error.ours)} | ({"stock": _estimate(error.stock[name])} if name in error.stock else {})
        if error.ratio is not None:
            low, high = error.ratio.interval
            words["ours"] += f", {error.ratio.value:.0%} [{low:.0%}, {high:.0%}] of the stock schedule's"
    return {
        "stock": f"{name}{method}, {rival}   {words.get('stock', '')}".rstrip(),
        "ours": f"{ours}   {words['ours']}",
        "fine": "the fine solution both aim at",
    }


def _estimate(found: Estimate) -> str:
    words = f"error {found.mean:.3g}"
    return words if found.interval is None else f"{words} [{found.interval[0]:.3g}, {found.interval[1]:.3g}]"


def _headline(schedule: Schedule) -> str:
    return f"{schedule.model}, {schedule.solver.value}, {schedule.nfe} evaluations, the same starting noises"


def _draw_images(schedule: Schedule, samples: dict[str, Tensor], errors: dict[str, float], path: Path) -> None:
    figure = Figure(figsize=(11, 5.3), facecolor=_PAPER)
    axes = list(figure.subplots(5, 1))
    words = titles(schedule, errors)
    for axis, label in zip(axes[::2], samples, strict=True):
        grey = samples[label].shape[1] == 1
        axis.imshow(_strip(samples[label]), cmap="gray_r" if grey else None, vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(words[label], loc="left", fontsize=9, color=_GOOD if label == "ours" else _INK)
    for axis, label in zip(axes[1::2], ("stock", "ours"), strict=True):
        missed = (samples[label] - samples["fine"]).abs().amax(dim=1, keepdim=True)
        axis.imshow(_strip(2 * missed - 1), cmap="Reds", vmin=0, vmax=_FULL_RED, interpolation="nearest")
        axis.set_title("where it misses the fine solution", loc="left", fontsize=7, color=_MUTED)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(_headline(schedule), x=0.01, ha="left", fontsize=11, color=_INK)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path)


def _strip(images: Tensor) -> Array:
    """Images of shape (n, channels, height, width) in [-1, 1], side by side with a gap, values in [0, 1]."""
    if images.ndim != 4 or images.shape[1] not in {1, 3}:
        msg = f"received samples of shape {tuple(images.shape[1:])}; expected images (1 or 3, height, width) or points in the plane (2,)"
        raise ValueError(msg)
    gap = max(1, images.shape[3] // 8)
    padded = torch.nn.functional.pad((images.clamp(-1, 1) + 1) / 2, (0, gap))
    strip = padded.permute(2, 0, 3, 1).flatten(1, 2)[:, :-gap]
    return strip.squeeze(-1).numpy()


def _draw_points(schedule: Schedule, samples: dict[str, Tensor], errors: dict[str, float], path: Path) -> None:
    figure = Figure(figsize=(11, 4.1), facecolor=_PAPER)
    axes: list[Axes] = list(figure.subplots(1, 3, sharex=True, sharey=True))
    limit = float(samples["fine"].abs().max()) * 1.1
    for axis, (label, points) in zip(axes, samples.items(), strict=True):
        axis.scatter(points[:, 0], points[:, 1], s=1.5, c=_GOOD if label == "ours" else _INK, linewidths=0)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        axis.set_title(titles(schedule, errors)[label].replace("   ", "\n"), loc="left", fontsize=9, color=_INK)
        axis.tick_params(colors=_MUTED, labelsize=7)
    figure.suptitle(_headline(schedule), x=0.01, ha="left", fontsize=11, color=_INK)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path)


def main() -> None:
    """Draw from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schedule", type=Path, help="JSON body of a schedule")
    parser.add_argument("out", type=Path, help="PNG to write")
    args = parser.parse_args()
    schedule = Schedule.model_validate(json.loads(args.schedule.read_text()))
    models = os.environ.get("AYS_MODELS")
    torch.set_num_threads(int(os.environ.get("AYS_THREADS", "1")))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(schedule, Registry(Path(models) if models else None).load(schedule.model), args.out)
    sys.stdout.write(f"{args.out}\n")


if __name__ == "__main__":
    main()
