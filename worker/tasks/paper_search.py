"""`method=paper`: the search of Align Your Steps as published, stopped by validation, and the table that follows from it."""

from collections.abc import Iterator
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ays_client.contract import NFE_MAX, NFE_MIN, Effort, Estimate, JobRequest, Method, PaperOptions, Schedule, Solver, Sweep
from ays_client.contract import Terminal as TerminalName
from worker.ays.denoise import Evaluator
from worker.ays.ladder import Candidate
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
from worker.ays.solvers import SOLVERS, sample
from worker.ays.validate import HeldOut, estimate, hold_out, squared_errors
from worker.models.loaded import LoadedModel
from worker.tasks.answer import Origin, Place, mean_of, unjudged, validated
from worker.tasks.journal import Journal
from worker.tasks.measure import clean_samples, level_range
from worker.tasks.outcome import Outcome
from worker.tasks.samples import sample_grid
from worker.tasks.stages import Stages
from worker.tasks.validation import Verdict

NOISES = {Effort.FAST: 16, Effort.STANDARD: 64, Effort.MAX: 128}
"""Held-out noises that decide when to stop, and as many that judge the answer."""

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
        self._solver = SOLVERS[request.solver]
        self._terminal: Terminal = request.terminal.value
        self._neighbourhood = Neighbourhood(self._options.candidates, self._options.neighbourhood)
        self._noises = NOISES[request.effort]

    def outcome(self) -> Outcome:
        """Search ten steps until the judge has seen enough, halve them twice, interpolate all else, validate what was asked for."""
        self._stages.enter("sweep", self._planned_sweeps())
        search = self._hold_out(Stream.SEARCH)
        klub = KlubEstimator(self._denoise, self._samples(), proposal=GaussianProposal(self._options.c), seed=self._request.seed)
        record = self._search(klub, search)
        levels = record[best(record)].levels
        self._stages.enter("subdivide", self._options.midpoint_sweeps * 3 * self._update_evaluations() * BASE_STEPS)
        most = self._options.midpoint_sweeps
        for _ in range(_HALVINGS):
            levels = optimize_midpoints(klub, subdivide(levels), self._neighbourhood, sweeps=most, sweep=self._sweep)
        sweeps = self._record(klub, record)
        self._stages.enter("validate", 2 * self._noises * (self._request.grid + 6 * self._request.nfe))
        verdict = self._judge(levels, search)
        origin = Origin(self._request.variant, self._model, *self._span, method=Method.PAPER)
        place = Place(self._request.nfe, self._request.solver, self._request.terminal)
        requested = validated(origin, verdict, place, effort=self._request.effort, sweeps=sweeps)
        self._stages.enter("store")
        # The options that somebody chose answer that request alone.
        table = [] if self._request.chosen else _table(origin, levels, place)
        return Outcome(None, [*table, requested], requested, sample_grid(requested, self._model, self._denoise))

    def _sweep(self, klub: Klub, levels: Array, knots: range, neighbourhood: Neighbourhood) -> Array:
        return self._journal.step(len(levels), lambda: sweep(klub, levels, knots, neighbourhood))

    def _search(self, klub: Klub, search: HeldOut) -> list[Recorded]:
        start = self._start()

        def judge(levels: Array) -> Array:
            return self._journal.step(len(search), lambda: self._errors(closed(levels, BASE_STEPS, self._terminal), search))

        return stop_early(
            descend(klub, start, self._neighbourhood, sweep=self._sweep),
            start,
            judge,
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

    def _judge(self, levels: Array, search: HeldOut) -> Verdict:
        """Errors on the judge's noises; the best stock schedule is the answer if all noises prefer it by more than a standard error."""
        judge, steps = self._hold_out(Stream.JUDGE), self._request.steps
        sigma_max, sigma_min = self._span
        ours = closed(levels, steps, self._terminal)
        process = self._model.process
        stock = stock_schedules(steps, sigma_max=sigma_max, sigma_min=sigma_min, terminal=self._terminal, process=process)
        errors, judged = self._errors(ours, judge), {name: self._errors(each, judge) for name, each in stock.items()}
        name = min(judged, key=lambda each: float(judged[each].mean()))
        searched = self._errors(ours, search) - self._errors(stock[name], search)
        difference = estimate(np.concatenate([searched, errors - judged[name]]))
        if difference.mean > difference.standard_error:
            candidate = Candidate(name, stock[name], stock=True)
            return Verdict(candidate, stock[name], False, judged[name], judged, self._journal.evaluations)
        return Verdict(Candidate("paper", ours), ours, False, errors, judged, self._journal.evaluations)

    def _hold_out(self, stream: Stream) -> HeldOut:
        return hold_out(
            self._solver,
            self._denoise,
            self._denoise.shape,
            levels=self._grid(),
            terminal=self._terminal,
            indices=range(self._noises),
            seed=self._request.seed,
            stream=stream,
        )

    def _errors(self, levels: Array, noises: HeldOut) -> Array:
        return squared_errors(self._solver, self._denoise, levels[None], noises)[0]

    def _grid(self) -> Array:
        return log_grid(*self._span, self._request.grid)

    def _update_evaluations(self) -> int:
        """Evaluations of one update of one knot, at most."""
        return self._options.samples * (1 + 2 * self._options.candidates)

    def _planned_sweeps(self) -> int:
        once = (BASE_STEPS - 1) * self._update_evaluations() + self._noises * self._solver.evaluations(BASE_STEPS)
        own = 0 if self._model.data is not None else self._options.samples * self._request.grid
        return self._noises * self._request.grid + own + self._options.sweeps * once


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
                    yield unjudged(origin, closed(levels, steps, terminal), place, candidate="paper")
