"""What tests of both refinements share: noises of one small law, a judge that scatters, and the rules that no outcome may break."""

from dataclasses import replace

import numpy as np
import pytest

from worker.ays.denoise import Denoiser
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.refine import Refined
from worker.ays.solvers import Solver, sample
from worker.ays.validate import HeldOut, estimate, hold_out, squared_errors


def noises(law: Denoiser, solver: Solver, terminal: str, stream: Stream, n: int = 20) -> HeldOut:
    """Noises with their fine solutions on 48 levels; those of an ODE's search keep their paths."""
    levels, keep = log_grid(law.sigma_max, law.sigma_min, 48), stream is Stream.SEARCH and not solver.stochastic
    drawn = {"indices": range(n), "seed": 0, "stream": stream, "keep_path": keep}
    return hold_out(solver, law.denoise, law.shape, levels=levels, terminal=terminal, **drawn)


def scattered(law: Denoiser, solver: Solver, start: Array) -> HeldOut:
    """Sixteen noises of the judge, four of which miss their reference; the others are content with the start."""
    judge = noises(law, solver, "zero", Stream.JUDGE, 16)
    content = sample(solver, law.denoise, start, judge.noise)
    content[:4] = judge.reference[:4]
    return replace(judge, reference=content)


def assert_by_the_rules(found: Refined, start: Array, solver: Solver, law: Denoiser, judge: HeldOut) -> Array:
    """The judge is not surely worse off, and the outcome is a schedule within the law's range; returns the start's errors."""
    before = squared_errors(solver, law.denoise, start[None], judge)[0]
    change = estimate(found.judged - before)
    assert change.mean <= (0 if solver.stochastic else change.standard_error)
    assert found.judged == pytest.approx(squared_errors(solver, law.denoise, found.levels[None], judge)[0], rel=1e-9)
    assert found.improved == (not np.array_equal(found.levels, start))
    assert found.levels.shape == start.shape
    assert np.all(np.diff(found.levels) < 0)
    assert found.levels[:-1].min() >= law.sigma_min * (1 - 1e-9)
    assert found.levels[0] <= law.sigma_max * (1 + 1e-12)
    assert found.levels[-1] == start[-1]
    return before
