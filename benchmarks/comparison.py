"""Statistics of the comparison: each method's error with its standard error, who is first, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.ays.noise import Array

OURS, FAST, LIMIT = "standard", "fast", "direct"

GROUPS = {
    "ddpm": ("trailing", "leading"),
    "published": ("published_sd15", "published_sdxl", "published_svd"),
}
"""Columns that show the best of several in hindsight."""

TIE = 1e-3
"""Relative difference below which two schedules are the same."""


@dataclass(frozen=True)
class Score:
    """One method in one cell.

    Attributes:
        name: the method.
        errors: mean over its seeds of the squared error on every noise, shape (n,).
        seed_error: standard error of the mean over seeds; 0 for a single one.
        evaluations: evaluations that it cost, mean over seeds.
        seconds: CPU seconds that it cost, mean over seeds.
        quality: Frechet distance or negative log-likelihood, mean over seeds; None where neither is known.
    """

    name: str
    errors: Array
    seed_error: float
    evaluations: float
    seconds: float
    quality: float | None

    @property
    def mean(self) -> float:
        """Mean squared error."""
        return float(self.errors.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean, over noises and seeds."""
        return float(np.hypot(self.errors.std(ddof=1) / np.sqrt(len(self.errors)), self.seed_error))


@dataclass(frozen=True)
class Cell:
    """All methods of one model, solver and number of evaluations."""

    model: str
    solver: str
    nfe: int
    scores: dict[str, Score]

    @property
    def ours(self) -> Score:
        """What a job answers by default."""
        return self.scores[OURS]

    @property
    def rival(self) -> Score:
        """The best of all others, the limit left out."""
        return min((score for name, score in self.scores.items() if name not in (OURS, FAST, LIMIT)), key=lambda score: score.mean)

    @property
    def limit(self) -> Score | None:
        """Direct optimization, where it was run."""
        return self.scores.get(LIMIT)

    def ratio(self, other: Score) -> tuple[float, float]:
        """Our error over another's on the same noises, with the standard error of that ratio over noises and seeds."""
        value = self.ours.mean / other.mean
        paired = (self.ours.errors - value * other.errors).std(ddof=1) / np.sqrt(len(other.errors))
        return value, float(np.sqrt(paired**2 + self.ours.seed_error**2 + (value * other.seed_error) ** 2) / other.mean)

    @property
    def lost(self) -> bool:
        """Whether another is better by more than the standard error."""
        value, error = self.ratio(self.rival)
        return value > 1 + max(error, TIE)


def cells_of(raw: Sequence[dict[str, Any]]) -> list[Cell]:
    """Cells from the benchmark's rows."""
    return [Cell(each["model"], each["solver"], each["nfe"], _scores(each["rows"])) for each in raw]


def _scores(rows: Sequence[dict[str, Any]]) -> dict[str, Score]:
    names = dict.fromkeys(row["method"] for row in rows)
    return {name: _score(name, [row for row in rows if row["method"] == name]) for name in names}


def _score(name: str, rows: Sequence[dict[str, Any]]) -> Score:
    errors = np.array([row["errors"] for row in rows])
    means = errors.mean(axis=1)
    scatter = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
    qualities = [row["quality"] for row in rows]
    quality = None if qualities[0] is None else float(np.mean(qualities))
    evaluations, seconds = (float(np.mean([row[key] for row in rows])) for key in ("evaluations", "seconds"))
    return Score(name, errors.mean(axis=0), scatter, evaluations, seconds, quality)
