r"""The search: candidates, screening, local descent, acceptance (docs/theory.md, section 11).

Three disjoint sets of noises: the training set ranks and fits, the validation set accepts, the report's set (report.py) is read once,
after the last choice. The unknowns are levels, or levels and weights: the same code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from worker.ays.noise import Array, NoiseProcess
from worker.ays.paths import Stream
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, fitted_candidates, fixed_candidates, off_grid, stock_candidates
from worker.ays.search.descent import MOST_VALUES, Directions, descend, measuring_evaluations
from worker.ays.search.distribution import moments_lost
from worker.ays.search.fitted import rollout_weights
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.rollouts import Problem
from worker.ays.search.screening import screened
from worker.ays.search.statistics import accepted, robust_loss, tail_scale
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import printed_weights

BUDGET = {"fast": 600, "standard": 8000, "max": 40000}
"""Evaluations that a search of a fixed solver may spend beside the profile's and the report's, by effort."""
FITTED_BUDGET = {"fast": 600, "standard": 3900, "max": 20000}
"""The same of the fitted solver: with a profile of 16 paths, 64 levels and two path measures `standard` stays below 6,000."""
INTERVALS = 63
"""Intervals of a training or validation reference at least: with its fourth-order method that is finer than what a search tells apart."""
VALIDATION_SHARE = 0.35
"""Part of the budget that solves and runs validation noises: as many as a third buys decide what the other two thirds found."""
VALIDATION_NOISES, TRAINING_NOISES = (16, 128), (16, 64)
"""Fewest and most noises of each set."""
KEPT, STARTS = 4, 2
"""Candidates that run on all training noises, and of them those that a descent starts from."""
FAST_NOISES = (4, 8)
"""Fewest and most noises of each half of the profile's paths with which `fast` fits and accepts."""


@dataclass(frozen=True, eq=False)
class Found:
    """The answer of a search.

    Attributes:
        candidate: the schedule.
        improved: whether a descent or a fit changed it.
        errors: its squared errors on the validation noises, shape (n,).
        stock: hand-made schedules by validation error, the best first.
        evaluations: evaluations spent on all this.
        reason: why a hand-made or printed schedule is the answer; empty otherwise.
    """

    candidate: Candidate
    improved: bool
    errors: Array
    stock: list[Candidate]
    evaluations: int
    reason: str = ""


@dataclass
class Search:
    """One search, step by step: each yield is the best answer so far.

    Attributes:
        problem: solver, model, range.
        profile: moments along the solver's path measure.
        process: the model's noise process, which decides the hand-made schedules.
        effort: `fast`, `standard` or `max`.
        training: the profile's own paths with their references; None: they are solved again, at no charge, as the profile paid for them.
    """

    problem: Problem
    profile: Profile
    process: NoiseProcess
    effort: str
    training: ReferenceSet | None = None
    _start: int = field(default=0, init=False)

    def run(self) -> Iterator[Found]:
        """Answers, each better on the validation noises than the one before, the first one after screening."""
        problem, solver = self.problem, self.problem.solver
        training = self._training()
        self._start = problem.denoise.evaluations
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        stock = stock_candidates(problem.steps, **span, terminal=problem.terminal, process=self.process)
        if solver.fitted:
            stock = [replace(each, weights=printed_weights(SOLVERS["dpmpp_2m"], each.levels)) for each in stock]
        training, validation = self._sets(training)
        candidates = self._candidates(training)
        ranked, errors = screened(
            [*candidates, *stock], lambda some, start, stop: problem.errors(some, training.part(start, stop)), len(training), KEPT
        )
        ranked = off_grid(self.profile, ranked)
        hand_made = sorted((each for each in ranked if each.stock), key=lambda each: ranked.index(each))
        judged = problem.errors(ranked, validation)
        stock_order = sorted(
            (i for i, each in enumerate(ranked) if each.stock), key=lambda i: robust_loss(judged[i], tail_scale(judged[0])).mean()
        )
        hand_made = [ranked[i] for i in stock_order]
        best_stock = judged[stock_order[0]]
        del errors
        default = next(i for i, each in enumerate(ranked) if each is candidates[0] or each.name == candidates[0].name)
        best, best_errors = ranked[default], judged[default]
        for i, each in enumerate(ranked):
            if self._takes(each, judged[i], best, best_errors, validation):
                best, best_errors = each, judged[i]
        found = Found(best, False, best_errors, hand_made, self._spent(), "")
        yield self._guarded(found, hand_made[0], best_stock)
        starts = [best, *(each for each in ranked if each is not best and not each.stock)][:STARTS]
        for number, start in enumerate(starts):
            share = self._left() // (len(starts) - number)
            for candidate in self._descent(start, training, share):
                tried = problem.errors([candidate], validation)[0]
                if self._takes(candidate, tried, found.candidate, found.errors, validation):
                    found = replace(found, candidate=candidate, improved=True, errors=tried, evaluations=self._spent())
                    yield self._guarded(found, hand_made[0], best_stock)
        found = replace(found, evaluations=self._spent())
        yield self._guarded(found, hand_made[0], best_stock)
