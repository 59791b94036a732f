r"""The search: candidates, screening, local descent, acceptance (docs/theory.md, sections 8 and 9).

Three disjoint sets of noises: the training set ranks and fits, the validation set accepts, the report's set (report.py) is read once,
after the last choice. The unknowns are levels, or levels and weights: the same code.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.ays.noise import Array, NoiseProcess
from worker.ays.paths import Stream
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, StockSchedules, fitted_candidates, fixed_candidates, off_grid
from worker.ays.search.descent import MOST_VALUES, Directions, descend, measuring_evaluations
from worker.ays.search.distribution import loses_in_distribution
from worker.ays.search.fitted import rollout_weights
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.report import RESOLVED
from worker.ays.search.rollouts import Problem
from worker.ays.search.screening import FIRST_NOISES, screened
from worker.ays.search.statistics import RIVAL, accepted, robust_loss, tail_scale
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import printed_weights

BUDGET = {"standard": 12000, "max": 48000}
"""Evaluations that a search of a fixed solver may spend beside the profile's and the report's, by effort."""
FITTED_BUDGET = {"fast": 600, "standard": 3700, "max": 20000}
"""The same of the fitted solver: with a profile of 16 paths, 64 levels and two path measures `standard` stays below 6,000."""
INTERVALS, MOST_INTERVALS = {False: 60, True: 120}, {False: 512, True: 128}
"""Intervals of a training or validation reference, of an ODE (of order four) and an SDE: at least, rounded up to a multiple of the
profile's, and at most where that is too coarse. What an SDE's reference misses is the same for all candidates and cancels in pairs."""
SCREENING_SHARE, VALIDATION_SHARE, MEASURING_SHARE = 0.2, 0.4, 0.6
"""Parts of the budget: the first round of screening decides how many candidates there are; references of validation noises and what runs on
them; and, of what a descent may spend, its first Jacobian."""
VALIDATION_NOISES, TRAINING_NOISES = (12, 128), {"fast": 16, "standard": 16, "max": 64}
"""Fewest and most validation noises, and training noises by effort. At `fast` the fitted solver fits on the first half of these and
validates on the second: each noise gives as many equations as a sample has values for at most three weights."""
SCREENING_NOISES = 8
"""Training noises that screen the fitted solver's candidates, which are few and were fitted on them."""
KEPT, STARTS = 4, {False: 2, True: 1}
"""Candidates that run on all training noises, and of them those that a descent starts from: of a fixed solver, and of the fitted one."""
FITTED_STOCK = {"fast": 2, "standard": 4, "max": 4}
"""Hand-made schedules, the likeliest first, that run with the weights of DPM-Solver++(2M) beside the fitted solver's candidates."""


@dataclass(frozen=True, eq=False)
class Found:
    """The answer of a search.

    Attributes:
        candidate: the schedule.
        improved: whether a descent changed it.
        errors: its squared errors on the validation noises, shape (n,).
        stock: hand-made schedules by their validation error, the best first; none where none were run.
        evaluations: evaluations spent on all this, beside the profile's.
    """

    candidate: Candidate
    improved: bool
    errors: Array
    stock: list[Candidate]
    evaluations: int


class Search:
    """One search."""

    def __init__(
        self, problem: Problem, profile: Profile, process: NoiseProcess, effort: str, *, paths: ReferenceSet | None = None
    ) -> None:
        """Prepare.

        Args:
            problem: solver, model, range.
            profile: moments along the solver's path measure.
            process: the model's noise process, which decides the hand-made schedules.
            effort: `fast` (of the fitted solver), `standard` or `max`.
            paths: the first paths of an ODE's profile with their states, as far as they were kept; they are solved again where they are
                missing, at no charge, since the profile has paid for them.
        """
        self._problem, self._profile, self._process, self._effort = problem, profile, process, effort
        self._paths = paths
        self._fitted, self._stochastic = problem.solver.fitted, problem.solver.stochastic
        self.budget = (FITTED_BUDGET if self._fitted else BUDGET)[effort]
        cells = len(profile.levels) - 1
        self._intervals = cells * math.ceil(INTERVALS[self._stochastic] / cells)
        self._validating = self._intervals
        self._start = self._free = 0

    def run(self) -> Iterator[Found]:
        """Answers, each better on the validation noises than the one before; the first one after screening, the last one repeated."""
        problem = self._problem
        self._start = problem.denoise.evaluations
        training, candidates = self._resolved()
        stock = self._stock()
        candidates = candidates[: max(KEPT, self._most_candidates() - len(stock))]
        validation = self._validation(training)
        training = training.part(0, self._fitting(training))

        def rollout(some: Sequence[Candidate], start: int, stop: int) -> Array:
            return problem.errors(some, training.part(start, stop))

        noises = min(len(training), SCREENING_NOISES) if self._fitted else len(training)
        ranked, default = screened([*candidates, *stock], rollout, noises, KEPT)
        ranked = off_grid(self._profile, ranked)
        errors = problem.errors(ranked, validation)
        scale = tail_scale(errors[0])
        by_validation = np.argsort([robust_loss(each, scale).mean() for each in errors], kind="stable")
        hand_made = [ranked[i] for i in by_validation if ranked[i].stock]
        found = Found(ranked[default], False, errors[default], hand_made, self._spent())
        for candidate, tried in zip(ranked, errors, strict=True):
            found = self._better(found, candidate, tried, validation, improved=False)
        yield found
        starts = self._starts(found, ranked)
        for number, start in enumerate(starts):
            accepting = len(validation) * problem.solver.evaluations(problem.steps)
            for candidate in self._descent(start, training, self._left() // (len(starts) - number), accepting):
                better = self._better(found, candidate, problem.errors([candidate], validation)[0], validation, improved=True)
                if better is not found:
                    found = better
                    yield found
        yield replace(found, evaluations=self._spent())

    def _resolved(self) -> tuple[ReferenceSet, list[Candidate]]:
        """Training references that are finer than the first candidate, and the candidates."""
        problem = self._problem
        while True:
            training = self._training()
            candidates = self._candidates(training)
            if self._effort == "fast":
                return training, candidates
            few = training.part(0, FIRST_NOISES)
            errors = problem.errors(candidates[:1], few)[0]
            missed, self._validating = self._difference(few, self._intervals // 2), self._intervals
            own = float(missed.mean()) / (1 if self._stochastic else 9)
            while _resolved(missed, errors) and self._validating >= 4 * problem.steps:
                self._validating //= 2
                missed = self._difference(few, self._validating // 2)
            finer = 2 * self._intervals
            affordable = finer <= MOST_INTERVALS[self._stochastic] and len(training) * finer <= self._left() / 2
            if own <= RESOLVED * float(errors.mean()) or not affordable:
                return training, candidates
            self._intervals = finer

    def _difference(self, references: ReferenceSet, intervals: int) -> Array:
        """Squared distances of references to those of fewer intervals from the same noises, shape (n,)."""
        coarse = self._problem.references(self._stream(), range(len(references)), intervals)
        return np.asarray((coarse.reference - references.reference).flatten(1).square().sum(1).cpu())

    def _stream(self) -> Stream:
        """The training noises of an ODE are those of the profile's own paths, whose references it has paid for."""
        return Stream.TRAINING if self._stochastic else Stream.PROFILE

    def _training(self) -> ReferenceSet:
        problem, before = self._problem, self._problem.denoise.evaluations
        room = MOST_VALUES // (self._intervals * math.prod(problem.denoise.shape))
        most = TRAINING_NOISES[self._effort]
        if self._effort == "fast":
            # Half of them fit three candidates, the other half compare seven and the hand-made ones.
            most = int(np.clip(2 * (self.budget // ((10 + FITTED_STOCK["fast"]) * problem.steps)), 4, most))
        count = int(np.clip(room, 1, most))
        own = not self._stochastic and self._intervals == len(self._profile.levels) - 1
        kept = self._paths if own else None
        known = min(len(kept), count) if kept is not None else 0
        training = kept.part(0, known) if kept is not None and known else None
        if known < count:
            more = problem.references(self._stream(), range(known, count), self._intervals, keep_states=self._fitted)
            training = more if training is None else training.joined(more)
        assert training is not None
        if own:
            paid = (min(count, self._profile.paths) - known) * (self._intervals + 1)
            self._free += min(max(0, paid), problem.denoise.evaluations - before)
        return training

    def _validation(self, training: ReferenceSet) -> ReferenceSet:
        if self._effort == "fast":
            return training.part(self._fitting(training), len(training))
        steps = self._problem.solver.evaluations(self._problem.steps)
        cost, screening = self._validating + 6 * steps, 2 * SCREENING_NOISES * KEPT * steps if self._fitted else 0
        room = min(VALIDATION_SHARE * self.budget, self._left() - screening)
        count = int(np.clip(room / cost, *VALIDATION_NOISES))
        return self._problem.references(Stream.VALIDATION, range(count), self._validating)

    def _fitting(self, training: ReferenceSet) -> int:
        """How many of the training noises are fitted on: all, or at effort `fast` half, and the others validate."""
        return max(1, len(training) // 2) if self._effort == "fast" else len(training)

    def _candidates(self, training: ReferenceSet) -> list[Candidate]:
        problem = self._problem
        if not self._fitted:
            return fixed_candidates(self._profile, problem.solver, problem.steps, terminal=problem.terminal)
        found = fitted_candidates(self._profile, problem.steps, terminal=problem.terminal)
        part = training.part(0, self._fitting(training))
        for i, each in enumerate(found):
            if each.method is None and each.weights is not None:
                weights = rollout_weights(problem.denoise, each.levels, each.weights, part)
                found[i] = replace(each, weights=weights)
        return found

    def _stock(self) -> list[Candidate]:
        problem = self._problem
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        found = StockSchedules(self._profile, problem.solver, self._process, **span).candidates(problem.steps, problem.terminal)
        if not self._fitted:
            return found
        return [replace(each, weights=printed_weights(SOLVERS["dpmpp_2m"], each.levels)) for each in found[: FITTED_STOCK[self._effort]]]

    def _most_candidates(self) -> int:
        return int(SCREENING_SHARE * self.budget / (FIRST_NOISES * self._problem.solver.evaluations(self._problem.steps)))

    def _better(self, found: Found, candidate: Candidate, errors: Array, validation: ReferenceSet, *, improved: bool) -> Found:
        """The answer with the candidate in its place, where it is accepted."""
        if not accepted(errors, found.errors, by=0.0 if improved else RIVAL) or (
            self._stochastic and not candidate.stock and self._loses(candidate, found, validation)
        ):
            return found
        return replace(found, candidate=candidate, errors=errors, improved=improved, evaluations=self._spent())

    def _loses(self, candidate: Candidate, found: Found, validation: ReferenceSet) -> bool:
        """Whether samples lose in distribution to the best hand-made schedule's."""
        shape = validation.reference.shape
        both = np.stack([candidate.levels, found.stock[0].levels])
        ours, others = self._problem.deviations(both, None, validation).reshape(2, *shape) + validation.reference
        return loses_in_distribution(ours, others, validation.reference)

    def _starts(self, found: Found, ranked: Sequence[Candidate]) -> list[Candidate]:
        """The answer so far, and the best other candidate of the profile's."""
        if self._effort == "fast":
            return []
        others = [each for each in ranked if each is not found.candidate and not each.stock]
        return [found.candidate, *others][: STARTS[self._fitted]]

    def _descent(self, start: Candidate, training: ReferenceSet, budget: int, accepting: int) -> Iterator[Candidate]:
        """Schedules of a descent on as many training noises as its budget measures a Jacobian of; each takes `accepting` evaluations."""
        problem, until = self._problem, self._spent() + budget
        per_noise, size = measuring_evaluations(start), len(Directions.of(start).units) * math.prod(problem.denoise.shape)
        count = min(len(training), int(MEASURING_SHARE * budget / per_noise), MOST_VALUES // size)
        if count < FIRST_NOISES:
            return
        part = training.part(0, count)
        found = descend(
            lambda levels, weights: problem.deviations(levels, weights, part),
            start,
            noises=count,
            sigma_max=problem.sigma_max,
            sigma_min=problem.sigma_min,
            left=lambda: until - accepting - self._spent(),
        )
        for candidate, _ in found:
            yield candidate

    def _spent(self) -> int:
        return self._problem.denoise.evaluations - self._start - self._free

    def _left(self) -> int:
        return max(0, self.budget - self._spent())


def _resolved(missed: Array, errors: Array) -> bool:
    """Whether references tell errors apart, both of shape (n,): in the mean, which a few samples rule, and in the bulk."""
    return bool(missed.mean() <= RESOLVED * errors.mean() and np.median(missed) <= RESOLVED * np.median(errors))
