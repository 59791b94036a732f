"""Validating the requested cell: ladder, race, guarded refinement, and the verdict on noises of the judge."""

from dataclasses import dataclass, replace

import numpy as np

from ays_client.contract import Effort, JobRequest
from worker.ays.denoise import Evaluator
from worker.ays.ladder import Candidate, ladder, race, thin
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile import Profile
from worker.ays.refine import Refined, iteration_evaluations, refine
from worker.ays.schedule import Terminal, stock_schedules
from worker.ays.solvers import SOLVERS, Solver
from worker.ays.validate import HeldOut, estimate, hold_out, squared_errors
from worker.models.loaded import LoadedModel
from worker.stages import Stages

BUDGET = {Effort.STANDARD: 10, Effort.MAX: 50}
"""Evaluations that validation and refinement may spend, in multiples of a path measure's profile (about)."""

_FEWEST_NOISES, _MOST_NOISES = 16, {Effort.STANDARD: 48, Effort.MAX: 128}
_STARTS = {Effort.STANDARD: 1, Effort.MAX: 3}
_ITERATIONS = {Effort.STANDARD: 6, Effort.MAX: 10}
_FEWEST_CANDIDATES, _MOST_CANDIDATES = 6, 24


@dataclass(frozen=True)
class Verdict:
    """The kept schedule and its measured errors.

    Attributes:
        candidate: where it came from.
        levels: the schedule, refined or not, shape (steps + 1,).
        refined: whether refinement changed it.
        errors: its squared errors on the judge's noises, shape (n,).
        stock: squared errors of the stock schedules on the same noises, each of shape (n,).
        evaluations: evaluations spent on all this.
    """

    candidate: Candidate
    levels: Array
    refined: bool
    errors: Array
    stock: dict[str, Array]
    evaluations: int


@dataclass(frozen=True)
class Plan:
    """How the budget is divided.

    Attributes:
        noises: search noises, and as many of the judge.
        candidates: entries of the race beside the stock schedules.
        iterations: refinement iterations of one start.
        starts: candidates that are refined.
        total: evaluations expected at most.
    """

    noises: int
    candidates: int
    iterations: int
    starts: int
    total: int


def plan(effort: Effort, solver: Solver, steps: int, *, grid: int, paths: int) -> Plan:
    """Divide the budget: fine solutions first, then the race, the rest to refinement."""
    budget, starts = BUDGET[effort] * grid * paths, _STARTS[effort]
    cost = solver.evaluations(steps)
    each = 2 * grid + _FEWEST_CANDIDATES * cost + 2 * starts * iteration_evaluations(steps, 1, 1)
    noises = int(np.clip(budget // each, _FEWEST_NOISES, _MOST_NOISES[effort]))
    fine = 2 * noises * grid
    room = budget // 10 if effort is Effort.STANDARD else budget // 20
    candidates = int(np.clip(2 * room // (cost * noises), _FEWEST_CANDIDATES, _MOST_CANDIDATES))
    raced = candidates * cost * noises // 2
    one = iteration_evaluations(steps, noises, noises) * (2 if solver.predictor_corrector else 1)
    iterations = int(np.clip((budget - fine - raced) // (one * starts), 0, _ITERATIONS[effort]))
    return Plan(noises, candidates, iterations, starts, fine + raced + iterations * one * starts)


class Validator:
    """Validates schedules of one request on noises of search and judge."""

    def __init__(self, request: JobRequest, model: LoadedModel, profile: Profile, denoise: Evaluator, stages: Stages) -> None:
        """Prepare for a request.

        Args:
            request: what is asked for.
            model: the model.
            profile: its profile, of the path measure that the solver needs.
            denoise: counting evaluator of the model.
            stages: where progress goes.
        """
        self._denoise, self._stages, self._profile, self._seed = denoise, stages, profile, request.seed
        self._solver, self._steps = SOLVERS[request.solver], request.steps
        self._terminal: Terminal = "zero" if request.terminal.value == "zero" else "sigma_min"
        self._plan = plan(request.effort, self._solver, self._steps, grid=len(profile.levels), paths=profile.paths)
        span = {"sigma_max": float(profile.levels[0]), "sigma_min": float(profile.levels[-1])}
        self._stock = stock_schedules(self._steps, **span, terminal=self._terminal, process=model.process)
        self._start = denoise.evaluations

    def search(self) -> Verdict:
        """Ladder, race and guarded refinement; the best stock schedule is kept if the judge likes it better."""
        self._stages.enter("validate", self._plan.total)
        search, judge = self._hold_out(Stream.SEARCH), self._hold_out(Stream.JUDGE)
        candidates = thin(ladder(self._profile, self._solver, self._steps, terminal=self._terminal), self._plan.candidates)
        outcome = race(self._solver, self._denoise, candidates, self._stock, search)
        self._stages.enter("refine", max(0, self._plan.total - self._spent()))
        starts = outcome.ranking[: self._plan.starts]
        if all(candidate.stock for candidate in starts):
            # A few heavy-tailed noises may have made a stock schedule win: the judge shall see our best as well.
            starts = [*starts, *[candidate for candidate in (*outcome.ranking, *candidates) if not candidate.stock][:1]]
        pool = [self._refine(candidate, search, judge) for candidate in starts]
        candidate, refined = min(pool, key=lambda pair: float(pair[1].judged.mean()))
        return self._conclude(candidate, refined, outcome.best_stock, judge)

    def check(self, candidate: Candidate) -> Verdict:
        """Measure the errors of a given schedule, and of the stock ones, on the judge's noises."""
        self._stages.enter("validate", self._plan.noises * (len(self._profile.levels) + self._steps * (1 + len(self._stock))))
        judge = self._hold_out(Stream.JUDGE)
        return self._verdict(candidate, candidate.levels, self._errors(candidate.levels, judge), judge, refined=False)

    def _refine(self, candidate: Candidate, search: HeldOut, judge: HeldOut) -> tuple[Candidate, Refined]:
        return candidate, refine(
            self._solver,
            self._denoise,
            candidate.levels,
            search=search,
            judge=judge,
            sigma_max=float(self._profile.levels[0]),
            sigma_min=float(self._profile.levels[-1]),
            iterations=self._plan.iterations,
        )

    def _conclude(self, candidate: Candidate, refined: Refined, stock: Candidate, judge: HeldOut) -> Verdict:
        """Keep the race's best stock schedule if the judge prefers it by more than a standard error of the paired difference."""
        verdict = self._verdict(candidate, refined.levels, refined.judged, judge, refined=refined.improved)
        difference = estimate(verdict.errors - verdict.stock[stock.name])
        if difference.mean <= difference.standard_error:
            return verdict
        return replace(verdict, candidate=stock, levels=stock.levels, errors=verdict.stock[stock.name], refined=False)

    def _verdict(self, candidate: Candidate, levels: Array, errors: Array, judge: HeldOut, *, refined: bool) -> Verdict:
        stock = {name: self._errors(levels, judge) for name, levels in self._stock.items()}
        return Verdict(candidate, levels, refined, errors, stock, self._spent())

    def _hold_out(self, stream: Stream) -> HeldOut:
        return hold_out(
            self._solver,
            self._denoise,
            self._denoise.shape,
            levels=self._profile.levels,
            terminal=self._terminal,
            indices=range(self._plan.noises),
            seed=self._seed,
            stream=stream,
        )

    def _errors(self, levels: Array, noises: HeldOut) -> Array:
        return squared_errors(self._solver, self._denoise, levels[None], noises)[0]

    def _spent(self) -> int:
        return self._denoise.evaluations - self._start
