"""`method=paper`: the search of Align Your Steps as published, stopped by validation, and the table that follows from it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ays_client.contract import NFE_MAX, NFE_MIN, Effort, Estimate, JobRequest, Method, PaperOptions, Schedule, Solver, Sweep
from ays_client.contract import Terminal as TerminalName
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.paper.coordinate_search import (
    BASE_STEPS,
    Klub,
    Neighbourhood,
    Recorded,
    best,
    descend,
    optimize_midpoints,
    stop_early,
    subdivide,
    sweep,
)
from worker.ays.paper.importance_sampling import GaussianProposal
from worker.ays.paper.klub_estimator import KlubEstimator
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.schedule import Terminal, edm, resample, stock_schedules, time_uniform
from worker.ays.search.candidates import Candidate
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.rollouts import Problem
from worker.ays.search.statistics import SURE, z_score
from worker.ays.solvers import SOLVERS, sample
from worker.models.loaded import LoadedModel
from worker.tasks.answer import Origin, Place, mean_of, of_curve, validated
from worker.tasks.journal import Journal
from worker.tasks.measure import clean_samples, level_range
from worker.tasks.outcome import Outcome
from worker.tasks.samples import sample_grid
from worker.tasks.stages import Stages
from worker.tasks.validation import Validated, reported

NOISES = {Effort.FAST: 16, Effort.STANDARD: 64, Effort.MAX: 128}
"""Validation noises, which decide when to stop."""
INTERVALS = 128
"""Intervals of their references."""

_HALVINGS = 2
_DATA_CHUNK = 256


class PaperSearch:
    """One run of the paper's method for a request."""

    def __init__(self, request: JobRequest, model: LoadedModel, denoise: Evaluator, stages: Stages, journal: Journal) -> None:
        """Prepare for a request.

        Args:
            request: what is asked for.
            model: the model.
            denoise: counting evaluator of the model.
            stages: where progress goes.
            journal: the sweeps that earlier attempts have finished.
        """
        self._request, self._model, self._denoise, self._stages, self._journal = request, model, denoise, stages, journal
        self._options = request.paper or PaperOptions()
        self._span = level_range(request.variant, model)
        self._terminal: Terminal = request.terminal.value
        self._problem = Problem(SOLVERS[request.solver], denoise, request.steps, self._terminal, *self._span, request.seed)
        self._neighbourhood = Neighbourhood(self._options.candidates, self._options.neighbourhood)
        self._noises = NOISES[request.effort]

    def outcome(self) -> Outcome:
        """Search ten steps until validation asks to stop, halve them twice, interpolate all else, report what was asked for."""
        self._stages.enter("sweep", self._planned_sweeps())
        validation = self._problem.references(Stream.VALIDATION, range(self._noises), INTERVALS)
        klub = KlubEstimator(self._denoise, self._samples(), proposal=GaussianProposal(self._options.c), seed=self._request.seed)
        record = self._search(klub, validation)
        levels = record[best(record)].levels
        self._stages.enter("subdivide", self._options.midpoint_sweeps * 3 * self._update_evaluations() * BASE_STEPS)
        most = self._options.midpoint_sweeps
        for _ in range(_HALVINGS):
            levels = optimize_midpoints(klub, subdivide(levels), self._neighbourhood, sweeps=most, sweep=self._sweep)
        sweeps = self._record(klub, record)
        self._stages.enter("validate", self._noises * 6 * self._request.nfe)
        answer = self._answer(levels, validation)
        origin = Origin(self._request.variant, self._model, *self._span, method=Method.PAPER)
        place = Place(self._request.nfe, self._request.solver, self._request.terminal)
        requested = validated(origin, answer, place, effort=self._request.effort, sweeps=sweeps)
        self._stages.enter("store")
        # The options that somebody chose answer that request alone.
        table = [] if self._request.chosen else _table(origin, levels, place)
        return Outcome(None, [*table, requested], requested, sample_grid(requested, self._model, self._denoise))

    def _sweep(self, klub: Klub, levels: Array, knots: range, neighbourhood: Neighbourhood) -> Array:
        return self._journal.step(len(levels), lambda: sweep(klub, levels, knots, neighbourhood))

    def _search(self, klub: Klub, validation: ReferenceSet) -> list[Recorded]:
        start = self._start()

        problem = replace(self._problem, steps=BASE_STEPS)

        def errors(levels: Array) -> Array:
            tried = Candidate("paper", closed(levels, BASE_STEPS, self._terminal))
            return self._journal.step(len(validation), lambda: problem.errors([tried], validation)[0])

        return stop_early(
            descend(klub, start, self._neighbourhood, sweep=self._sweep),
            start,
            errors,
            sweeps=self._options.sweeps,
            patience=self._options.patience,
        )

    def _start(self) -> Array:
        """EDM's levels, or even timesteps for discrete time (paper, Appendix B.1), shape (BASE_STEPS + 1,)."""
        sigma_max, sigma_min = self._span
        if self._model.process.kind == "vp":
            process = self._model.process
            return time_uniform(BASE_STEPS, sigma_max=sigma_max, sigma_min=sigma_min, terminal="sigma_min", process=process)
        return edm(BASE_STEPS, sigma_max=sigma_max, sigma_min=sigma_min, terminal="sigma_min")

    def _samples(self) -> Tensor:
        """Samples of the data, or of the model where there are none, shape (n, *shape)."""
        n, seed = self._options.samples, self._request.seed
        chunks = [range(start, min(start + _DATA_CHUNK, n)) for start in range(0, n, _DATA_CHUNK)]
        drawn = [clean_samples(self._model, chunk, seed=seed, stream=Stream.KLUB) for chunk in chunks]
        found = [data for data in drawn if data is not None]
        if found:
            return torch.cat(found)
        noise = starting_noise(self._denoise.shape, range(n), seed=seed, stream=Stream.PROFILE)
        return sample(SOLVERS["dpmpp_2m"], self._denoise.along(range(n)), np.append(self._grid(), 0.0), noise)

    def _record(self, klub: KlubEstimator, record: list[Recorded]) -> list[Sweep]:
        kept = best(record)
        sweeps = []
        for i, entry in enumerate(record):
            bound, error = klub.total(entry.levels)
            bound_estimate = Estimate(mean=bound, standard_error=error)
            sweeps.append(Sweep(sigmas=entry.levels.tolist(), bound=bound_estimate, error=mean_of(entry.judged), kept=i == kept))
        return sweeps

    def _answer(self, levels: Array, validation: ReferenceSet) -> Validated:
        """The levels and their report; the best stock schedule where its validation errors are significantly smaller."""
        steps, (sigma_max, sigma_min), process = self._request.steps, self._span, self._model.process
        ours = Candidate("paper", closed(levels, steps, self._terminal))
        found = stock_schedules(steps, sigma_max=sigma_max, sigma_min=sigma_min, terminal=self._terminal, process=process)
        stock = [Candidate(name, each, stock=True) for name, each in found.items()]
        own, *others = self._problem.errors([ours, *stock], validation)
        order = sorted(range(len(stock)), key=lambda i: float(others[i].mean()))
        ranked, best = [stock[i] for i in order], others[order[0]]
        lost = z_score(own, best) > SURE
        reason = "the search's schedule had a significantly larger validation error" if lost else None
        answer = Validated(ranked[0] if lost else ours, False, None, self._journal.evaluations, reason)
        return reported(answer, self._problem, ranked, self._stages)

    def _grid(self) -> Array:
        return log_grid(*self._span, self._request.grid)

    def _update_evaluations(self) -> int:
        """Evaluations of one update of one knot, at most."""
        return self._options.samples * (1 + 2 * self._options.candidates)

    def _planned_sweeps(self) -> int:
        once = (BASE_STEPS - 1) * self._update_evaluations() + self._noises * self._problem.solver.evaluations(BASE_STEPS)
        own = 0 if self._model.data is not None else self._options.samples * self._request.grid
        return self._noises * INTERVALS + own + self._options.sweeps * once


def closed(levels: Array, steps: int, terminal: Terminal) -> Array:
    """A schedule that ends at sigma_min, log-linearly interpolated to `steps` steps; for terminal `zero` the last one goes to 0 instead."""
    found = resample(levels, steps)
    return np.append(found[:-1], 0.0) if terminal == "zero" else found


def _table(origin: Origin, levels: Array, requested: Place) -> Iterator[Schedule]:
    """Every cell but the requested one: the paper uses one schedule for all solvers."""
    for solver in SOLVERS.values():
        for terminal in get_args(Terminal):
            for nfe in range(NFE_MIN, NFE_MAX + 1):
                place, steps = Place(nfe, Solver(solver.name), TerminalName(terminal)), solver.steps(nfe)
                if place != requested and solver.evaluations(steps) == nfe:
                    yield of_curve(origin, closed(levels, steps, terminal), place, weight=None, candidate="paper", effort=None)
