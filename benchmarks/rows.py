"""Ways of sampling side by side: a table and a picture."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

COLUMNS = 16


class Row(NamedTuple):
    """How one way of sampling did.

    Attributes:
        label: what it is.
        samples: images in [-1, 1], shape (n, 1, side, side).
        errors: squared distances to the fine solution, summed over pixels, shape (n,); None for a stochastic one.
        frechet: Frechet distances of parts; None where they were not computed.
    """

    label: str
    samples: Tensor
    errors: Tensor | None = None
    frechet: Tensor | None = None


def generate(pipe: Callable[..., Any], count: int, nfe: int) -> Tensor:
    """The call site, the same for every row: samples in [-1, 1], shape (count, 1, side, side)."""
    images = pipe(batch_size=count, generator=torch.Generator().manual_seed(0), num_inference_steps=nfe, output_type="np").images
    return 2 * torch.from_numpy(images).permute(0, 3, 1, 2) - 1


def starting_noise(count: int, shape: tuple[int, ...]) -> Tensor:
    """The noise that `generate` draws, in units of one, shape (count, *shape), float64."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0)).double()


def errors(samples: Tensor, reference: Tensor) -> Tensor:
    """Squared distance of each sample to that of the same starting noise in another set, summed over pixels."""
    return (samples - reference).double().square().flatten(1).sum(1)


def table(rows: Sequence[Row], nfe: int) -> str:
    """The rows in Markdown; a column for the Frechet distance where any row has one."""
    frechet = any(row.frechet is not None for row in rows)
    head = [f"{nfe} evaluations", "error ± standard error", *["Frechet distance ± standard error"] * frechet]
    body = [[row.label, _estimate(row.errors), *[_estimate(row.frechet)] * frechet] for row in rows]
    first, *rest = [f"| {' | '.join(cells)} |" for cells in [head, *body]]
    return "\n".join([first, "|---" * len(head) + "|", *rest]) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """A strip of samples for every row, from the same noises."""
    figure = Figure(figsize=(11, 1.05 * len(rows) + 0.2), facecolor="white")
    for axis, row in zip(figure.subplots(len(rows), 1), rows, strict=True):
        padded = torch.nn.functional.pad(row.samples[:COLUMNS], (0, 1), value=-1.0)
        axis.imshow(padded.permute(2, 0, 3, 1).flatten(1, 2)[:, :-1, 0].numpy(), cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
        error = "" if row.errors is None else f"   error {row.errors.mean():.3g}"
        axis.set_title(row.label + error, loc="left", fontsize=9, color="#0a7d4f" if "apply_schedule" in row.label else "#1a1a1a")
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=140)


def _estimate(values: Tensor | None) -> str:
    return "-" if values is None else f"{values.mean():.3f} ± {values.std() / math.sqrt(len(values)):.3f}"
