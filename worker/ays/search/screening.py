"""Screening: successive halving of the candidates on training noises, paired and by the robust loss."""

from collections.abc import Callable, Sequence

import numpy as np

from worker.ays.noise import Array
from worker.ays.search.candidates import Candidate
from worker.ays.search.statistics import robust_loss, tail_scale

FIRST_NOISES = 4
"""Noises of the first round: as few as tell a schedule that is many times worse, which most candidates are."""
SAME = 0.2
"""Largest difference of a knot, in mean step widths of ln sigma, between schedules of which the better one alone is kept."""

Rollout = Callable[[Sequence[Candidate], int, int], Array]
"""`(candidates, start, stop)` -> squared errors on the training noises from `start` up to `stop`, shape (S, stop - start)."""


def screened(candidates: Sequence[Candidate], rollout: Rollout, noises: int, keep: int) -> tuple[list[Candidate], int]:
    """Rank candidates by their errors on training noises.

    All run on the first few noises, the better half on as many again, and so on. The first candidate, the default, and the best hand-made
    one run to the end.

    Args:
        candidates: at least one, the default first.
        rollout: runs candidates.
        noises: training noises.
        keep: candidates that run to the end, the two named ones beside them.

    Returns:
        Those that ran on all noises, the best first, near-duplicates left out, and the position of the default among them.
    """
    alive, errors = list(range(len(candidates))), np.zeros((len(candidates), 0))
    done = 0
    while done < noises:
        stop = min(noises, max(FIRST_NOISES, 2 * done))
        errors = np.concatenate([errors, rollout([candidates[i] for i in alive], done, stop)], axis=1)
        loss = robust_loss(errors, tail_scale(errors[errors.mean(axis=1).argmin()])).mean(axis=1)
        order = loss.argsort(kind="stable")
        most = keep if stop >= noises else max(keep, (len(order) + 1) // 2)
        chosen = _distinct(candidates, [alive[i] for i in order], most)
        position = {index: i for i, index in enumerate(alive)}
        errors, alive, done = errors[[position[index] for index in chosen]], chosen, stop
    return [candidates[i] for i in alive], alive.index(0)


def _distinct(candidates: Sequence[Candidate], ranked: Sequence[int], most: int) -> list[int]:
    """The first `most` of a ranking that differ, with the default and the best hand-made one where they were left out."""
    kept: list[int] = []
    for i in ranked:
        if len(kept) == most:
            break
        if all(_distance(candidates[i], candidates[j]) > SAME for j in kept):
            kept.append(i)
    stock = [i for i in ranked if candidates[i].stock][:1]
    named = [*(i for i in ranked if i == 0), *stock]
    return kept + [i for i in dict.fromkeys(named) if i not in kept]


def _distance(a: Candidate, b: Candidate) -> float:
    """Largest difference of a knot in mean step widths of ln sigma; infinite between different solvers."""
    if (a.weights is None) != (b.weights is None) or (a.weights is not None and a.name != b.name):
        return float("inf")
    positive = a.levels > 0
    log_a, log_b = np.log(a.levels[positive]), np.log(b.levels[positive])
    return float(np.abs(log_a - log_b).max() / ((log_a[0] - log_a[-1]) / max(1, len(log_a) - 1)))
