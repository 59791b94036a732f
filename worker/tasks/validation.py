"""Validating the requested cell: ladder, race, guarded refinement, and the verdict on noises of the judge."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ays_client.contract import Effort, JobRequest
from worker.ays.denoise import Evaluator
from worker.ays.imitation import imitated, imitation, imitation_evaluations
from worker.ays.judge import Errors, gain
from worker.ays.ladder import Candidate, heat, ladder, off_grid, race
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import Profile
from worker.ays.refine import PARTS, Refined, iteration_evaluations, refine
from worker.ays.schedule import Terminal, stock_schedules
from worker.ays.solvers import SOLVERS, Solver
from worker.ays.surrogate import Surrogate
from worker.ays.trust_region import descend, learnable, opening_evaluations
from worker.ays.validate import HeldOut, estimate, hold_out, squared_errors
from worker.models.loaded import LoadedModel
from worker.tasks.measure import FEWEST_PATHS
from worker.tasks.stages import Stages

BUDGET = {Effort.STANDARD: 10, Effort.MAX: 50}
"""Evaluations that validation and refinement of up to `_BUDGETED_STEPS` steps may spend, in multiples of a path measure's profile of
`FEWEST_PATHS` (about). More steps may spend the more: every sample, of which it takes as many, costs more."""
_BUDGETED_STEPS = 5

_CALM, _CALM_NOISES = 0.15, 8
"""Standard deviation of the squared error over its mean below which few noises say it all, as in thousands of dimensions; how few."""
_FEWEST_NOISES, _MOST_NOISES = 16, {Effort.STANDARD: 64, Effort.MAX: 128}
_PRECISION = {Effort.STANDARD: 0.07, Effort.MAX: 0.035}
"""Relative standard error of the mean error, on the noises of search and judge together, that asks for no more of them."""
_STARTS = {Effort.STANDARD: 1, Effort.MAX: 3}
_ITERATIONS, _FOLLOWED = 20, {False: 4, True: 8}
"""Iterations of one start at most; and those after which more noises say more than more iterations, unless errors hardly scatter: of
iterations that ask the model for derivatives, and of those that learn them."""
_PARTS = {Effort.STANDARD: PARTS, Effort.MAX: (*PARTS, 0.15)}
"""Parts of a step that the judge compares: a short one is the surest, and too slow for three iterations."""
_RESERVED = {False: 3, True: 6}
"""Iterations that noises may not take the budget of, of both kinds."""
_FEW_STEPS = 6
"""Steps up to which a second start is refined, whatever the first one leaves, unless errors hardly scatter."""
_MORE_STARTS = 3
"""Starts that are refined at most with what the others have left: a descent ends in one of many minima, and early on a judge's doubt."""
_HEAT, _CANDIDATES = {False: 4, True: 8}, {False: 6, True: 9}
"""Noises that the whole ladder runs on, and candidates that run on, of an ODE and of an SDE (measured): refinement changes an ODE's pick so
much that noises and iterations are worth more than a seventh; what an SDE's race picks is most of its answer."""
_RACED = 0.85
"""Noises that a candidate is charged for in the race, in multiples of the search's. Where those are few the heats cost up to twice as much;
an ODE's whole validation spends 0.9 to 1.3 of the budget, 1.1 on average (measured)."""


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
        raced: what the ladder's race found best, before refinement, shape (steps + 1,); None: there was no race.
    """

    candidate: Candidate
    levels: Array
    refined: bool
    errors: Array
    stock: dict[str, Array]
    evaluations: int
    raced: Array | None = None


@dataclass(frozen=True)
class Plan:
    """How the budget is divided.

    Attributes:
        noises: search noises, and as many of the judge.
        iterations: refinement iterations of one start.
        starts: candidates that are refined.
        imitated: fine solutions that another candidate imitates.
        learnt: search noises along which the model may be learnt; 0: its derivatives are asked for.
        total: evaluations expected at most.
    """

    noises: int
    iterations: int
    starts: int
    imitated: int
    learnt: int
    total: int


def plan(
    effort: Effort,
    solver: Solver,
    steps: int,
    *,
    grid: int,
    paths: int,
    shape: tuple[int, ...],
    rungs: int = 0,
    spread: float = math.inf,
) -> Plan:
    """Divide the budget: fine solutions first, then the race, the rest to refinement.

    Heavy-tailed errors ask for noises; where errors hardly scatter, a few noises say it all and refinement gets the rest.

    Args:
        effort: what may be spent.
        solver: the method.
        steps: steps of the schedule.
        grid: levels of a fine solution.
        paths: paths of the profile.
        shape: shape of one sample.
        rungs: candidates of the ladder, which all run in the first heat.
        spread: standard deviation of the squared error over its mean, as a pilot measured it.
    """
    budget, starts = budgeted(effort, steps) * grid * paths, _STARTS[effort]
    cost = solver.evaluations(steps)
    count = 0 if solver.stochastic else imitated(shape, grid=grid, steps=steps)
    imitating = imitation_evaluations(count, grid=grid, steps=steps)
    # Of a few steps an iteration is cheap beside a fine solution, and the first start's often fails on the judge's noises.
    again = effort is Effort.STANDARD and not solver.stochastic and steps <= _FEW_STEPS and spread >= _CALM
    starts += again
    along = _most_learnt(solver, shape, grid=grid)
    learnt = along > 0
    opening = starts * opening_evaluations(solver, steps) if learnt else 0
    # Few noises are not halved; the most are.
    per_noise = starts * _iteration(effort, solver, steps, _MOST_NOISES[effort], learnt=learnt) / _MOST_NOISES[effort]
    before = 2 * grid + _RACED * _CANDIDATES[solver.stochastic] * cost + opening
    once = imitating + _HEAT[solver.stochastic] * rungs * cost
    room = max(0, budget - once)
    enough = min(spread, 1e3) ** 2 / _PRECISION[effort] ** 2 / 2
    if not solver.stochastic and spread >= _CALM:
        enough = max(enough, room / (before + _FOLLOWED[learnt] * per_noise))
    fewest = _CALM_NOISES if spread < _CALM else _FEWEST_NOISES
    reserved = _RESERVED[learnt] if _FEWEST_NOISES * (before + _RESERVED[learnt] * per_noise) <= room else 1
    noises = int(np.clip(min(room / (before + reserved * per_noise), enough), fewest, _MOST_NOISES[effort]))
    one = starts * _iteration(effort, solver, steps, noises, learnt=learnt)
    iterations = int(np.clip((room - before * noises) // one, 0, _ITERATIONS))
    return Plan(noises, iterations, starts, count, along, once + int(noises * before + iterations * one))


def budgeted(effort: Effort, steps: int) -> float:
    """Evaluations that validation and refinement may spend, in multiples of those of a path measure's profile."""
    return BUDGET[effort] * max(1.0, steps / _BUDGETED_STEPS)


def _most_learnt(solver: Solver, shape: tuple[int, ...], *, grid: int) -> int:
    """Along how many noises of the search the model may be learnt; 0: its derivatives are asked for."""
    room = 0 if solver.stochastic else learnable(math.prod(shape), grid=grid)
    return room if room >= _CALM_NOISES else 0


def _iteration(effort: Effort, solver: Solver, steps: int, noises: int, *, learnt: bool) -> int:
    """Evaluations of one iteration of one start."""
    if learnt:
        return 2 * noises * solver.evaluations(steps)
    return iteration_evaluations(solver, steps, noises, noises, parts=len(_PARTS[effort])) * solver.evaluations_per_step


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
        # A profile that had to grow shall not make its validation grow, too.
        paths = min(profile.paths, FEWEST_PATHS)
        grid, shape = len(profile.levels), denoise.shape
        self._planned = partial(plan, request.effort, self._solver, self._steps, grid=grid, paths=paths, shape=shape)
        self._plan, self._effort = self._planned(), request.effort
        self._span = {"sigma_max": float(profile.levels[0]), "sigma_min": float(profile.levels[-1])}
        self._stock = stock_schedules(self._steps, **self._span, terminal=self._terminal, process=model.process)
        self._surrogate: Surrogate | None = None
        self._start = denoise.evaluations

    def search(self) -> Verdict:
        """Ladder, race and guarded refinement; the best stock schedule is kept if the judge likes it better."""
        found = ladder(self._profile, self._solver, self._steps, terminal=self._terminal)
        self._plan = self._planned(rungs=len(found))
        self._stages.enter("validate", self._plan.total)
        search, judge = self._draw(found)
        raced = self._heat(found, search) if found else []
        candidates = [*off_grid(self._profile, raced), *self._imitation()]
        outcome = race(self._solver, self._denoise, candidates, self._stock, search.joined(judge))
        self._stages.enter("refine", max(0, self._plan.total - self._spent()))
        starts = outcome.ranking[: self._plan.starts]
        if all(candidate.stock for candidate in starts):
            # A few heavy-tailed noises may have made a stock schedule win: the judge shall see our best as well.
            starts = [*starts, *[candidate for candidate in (*outcome.ranking, *candidates) if not candidate.stock][:1]]
        pool = [self._refine(candidate, search, judge, self._plan.iterations) for candidate in starts]
        if not self._settled(pool):
            pool += self._more([candidate for candidate in outcome.ranking if candidate not in starts], search, judge)
        candidate, refined = self._surest(pool, outcome.errors[0], search)
        verdict = self._conclude(candidate, refined, outcome.best_stock, search, judge)
        return replace(verdict, raced=outcome.ranking[0].levels)

    def check(self, candidate: Candidate) -> Verdict:
        """Measure the errors of a given schedule, and of the stock ones, on the judge's noises."""
        self._stages.enter("validate", self._plan.noises * (len(self._profile.levels) + self._steps * (1 + len(self._stock))))
        judge = self._hold_out(Stream.JUDGE, range(self._plan.noises))
        return self._verdict(candidate, candidate.levels, self._errors(candidate.levels, judge), judge, refined=False)

    def _draw(self, candidates: Sequence[Candidate]) -> tuple[HeldOut, HeldOut]:
        """Noises of search and judge, as many as the spread of a first few asks for."""
        pilot = self._hold_out(Stream.SEARCH, range(_CALM_NOISES))
        levels = candidates[0].levels if candidates else next(iter(self._stock.values()))
        spread = self._spread(levels, pilot)
        if spread >= _CALM:
            pilot = pilot.joined(self._hold_out(Stream.SEARCH, range(_CALM_NOISES, _FEWEST_NOISES)))
            spread = max(self._spread(levels, pilot), _CALM)
        self._plan = self._planned(rungs=len(candidates), spread=spread)
        more = range(len(pilot), self._plan.noises)
        search = pilot.joined(self._hold_out(Stream.SEARCH, more)) if more else pilot
        if self._plan.learnt:
            self._surrogate = Surrogate(search.part(0, self._plan.learnt))
            search = replace(search, path=None)
        return search, self._hold_out(Stream.JUDGE, range(self._plan.noises))

    def _spread(self, levels: Array, noises: HeldOut) -> float:
        """Standard deviation of the squared error over its mean."""
        errors = self._errors(levels, noises)
        return float(errors.std(ddof=1) / max(errors.mean(), 1e-300))

    def _heat(self, found: Sequence[Candidate], search: HeldOut) -> list[Candidate]:
        """Whom of the ladder the race has room for; half of few noises, which are few where each says much, tell that."""
        stochastic = self._solver.stochastic
        few = search.part(0, min(_HEAT[stochastic], len(search) // 2))
        return heat(self._solver, self._denoise, found, few, _CANDIDATES[stochastic])

    def _imitation(self) -> list[Candidate]:
        """The candidate that imitates fine solutions, where any can be."""
        if not self._plan.imitated:
            return []
        levels = imitation(
            self._denoise,
            self._denoise.shape,
            levels=self._profile.levels,
            steps=self._steps,
            terminal=self._terminal,
            indices=range(self._plan.imitated),
            seed=self._seed,
        )
        return [Candidate("imitation", levels)]

    def _settled(self, pool: Sequence[tuple[Candidate, Refined]]) -> bool:
        """Whether further starts gain nothing (measured): an SDE's, and where few noises say it all and one descent has come off."""
        return self._solver.stochastic or (self._plan.noises <= _CALM_NOISES and any(refined.improved for _, refined in pool))

    def _more(self, others: Sequence[Candidate], search: HeldOut, judge: HeldOut) -> list[tuple[Candidate, Refined]]:
        """Further starts, refined with the evaluations that are left."""
        pool: list[tuple[Candidate, Refined]] = []
        noises, learnt = self._plan.noises, self._plan.learnt > 0
        one = _iteration(self._effort, self._solver, self._steps, noises, learnt=learnt)
        opening = noises * opening_evaluations(self._solver, self._steps) if learnt else 0
        for candidate in others[:_MORE_STARTS]:
            iterations = min((self._plan.total - self._spent() - opening) // one, _ITERATIONS)
            if iterations > 0:
                pool.append(self._refine(candidate, search, judge, iterations))
        return pool

    def _refine(self, candidate: Candidate, search: HeldOut, judge: HeldOut, iterations: int) -> tuple[Candidate, Refined]:
        given: Callable[..., Refined] = partial(refine, parts=_PARTS[self._effort])
        if self._surrogate is not None:
            given, search = partial(descend, surrogate=self._surrogate), search.part(0, len(self._surrogate.noises))
        kept = given(self._solver, self._denoise, candidate.levels, search=search, judge=judge, iterations=iterations, **self._span)
        return candidate, kept

    def _surest(self, pool: Sequence[tuple[Candidate, Refined]], raced: Array, search: HeldOut) -> tuple[Candidate, Refined]:
        """The smallest error on all noises, among the first and those that surely gain on what the race's winner was before."""
        if len(pool) == 1:
            return pool[0]
        errors = [np.concatenate([self._errors(refined.levels, search), refined.judged]) for _, refined in pool]
        before = Errors(raced)
        sure = [i for i, found in enumerate(errors) if i == 0 or gain(self._solver, Errors(found), before, before) is not None]
        return pool[min(sure, key=lambda i: float(errors[i].mean()))]

    def _conclude(self, candidate: Candidate, refined: Refined, stock: Candidate, search: HeldOut, judge: HeldOut) -> Verdict:
        """Keep the race's best stock schedule if all noises prefer it by more than a standard error of the paired difference."""
        verdict = self._verdict(candidate, refined.levels, refined.judged, judge, refined=refined.improved)
        judged = refined.judged - verdict.stock[stock.name]
        searched = self._errors(refined.levels, search) - self._errors(stock.levels, search)
        difference = estimate(np.concatenate([searched, judged]))
        verdict = replace(verdict, evaluations=self._spent())
        if difference.mean <= difference.standard_error:
            return verdict
        return replace(verdict, candidate=stock, levels=stock.levels, errors=verdict.stock[stock.name], refined=False)

    def _verdict(self, candidate: Candidate, levels: Array, errors: Array, judge: HeldOut, *, refined: bool) -> Verdict:
        stock = {name: self._errors(levels, judge) for name, levels in self._stock.items()}
        return Verdict(candidate, levels, refined, errors, stock, self._spent())

    def _hold_out(self, stream: Stream, indices: range) -> HeldOut:
        return hold_out(
            self._solver,
            self._denoise,
            self._denoise.shape,
            levels=self._profile.levels,
            terminal=self._terminal,
            indices=indices,
            seed=self._seed,
            stream=stream,
            keep_path=stream is Stream.SEARCH and indices.start < self._plan.learnt,
        )

    def _errors(self, levels: Array, noises: HeldOut) -> Array:
        return squared_errors(self._solver, self._denoise, levels[None], noises)[0]

    def _spent(self) -> int:
        return self._denoise.evaluations - self._start
