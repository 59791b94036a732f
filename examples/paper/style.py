"""What the pictures share: colours, axes, and the command line."""

import argparse
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, OURS = "#1a1a1a", "#8a8a8a", "#0a7d4f"
COLOURS = {
    "time-uniform": "#b0631c",
    "time-quadratic": "#d9a441",
    "EDM": "#3b6fb6",
    "log-SNR linear": "#7a4fa3",
    "log-SNR cosine": "#c2447c",
    "optimum": OURS,
}

mpl.rcParams.update(
    {"font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "axes.titlelocation": "left", "savefig.dpi": 160}
    | {"axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "legend.frameon": False, "legend.fontsize": 7}
)


def arguments(purpose: str, picture: str) -> tuple[Path, bool]:
    """The path of the picture, and whether a small quick form is wanted."""
    parser = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("out") / picture, help="PNG to write")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    return given.out, given.quick


def panels(rows: int, columns: int, *, size: tuple[float, float], title: str, **shared: object) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of plain axes."""
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, [list(row) for row in axes]


def cloud(axis: Axes, points: object, *, limit: tuple[float, float], title: str, colour: str = INK) -> None:
    """Points in the plane, small enough to show their density."""
    axis.scatter(points[:, 0], points[:, 1], s=0.6, c=colour, linewidths=0, alpha=0.6)  # type: ignore[index]
    axis.set(xlim=(-limit[0], limit[0]), ylim=(-limit[1], limit[1]), aspect="equal", xticks=[], yticks=[])
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set_title(title, color=colour)
