"""The requested cell: the search, as progress, and its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ays_client.contract import Effort, JobRequest
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, StockSchedules, fitted_members
from worker.ays.search.operations import operations_per_evaluation
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.report import Family, Report, Sampler, UnresolvedError, reference_evaluations, report, report_noises
from worker.ays.search.rollouts import Problem
from worker.ays.search.search import Found, Search
from worker.ays.search.statistics import ratio_interval
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import printed_weights
from worker.models.loaded import LoadedModel
from worker.tasks.stages import Stages

REPORTED_STOCK = 3
"""Hand-made schedules in a report: the best by validation and the two that everybody knows."""
LOST = "in the report the best stock schedule has a significantly smaller error than what the search found"
_KNOWN = ("edm", "log_snr")


@dataclass(frozen=True)
class Validated:
    """An answer with its report.

    Attributes:
        candidate: the schedule.
        improved: whether a descent changed it.
        report: its errors on noises that took part in no choice; None: not measured.
        evaluations: evaluations of its search.
        reason: why it has no report, or is a stock schedule; None otherwise.
        stock: the hand-made schedules of its report.
    """

    candidate: Candidate
    improved: bool = False
    report: Report | None = None
    evaluations: int = 0
    reason: str | None = None
    stock: Sequence[Candidate] = ()

    @property
    def levels(self) -> Array:
        """The schedule's levels, shape (N + 1,)."""
        return self.candidate.levels


class Validation:
    """Searches and reports for one request."""

    def __init__(
        self,
        request: JobRequest,
        model: LoadedModel,
        profile: Profile,
        denoise: Evaluator,
        stages: Stages,
        *,
        paths: ReferenceSet | None = None,
    ) -> None:
        """Prepare for a request.

        Args:
            request: what is asked for.
            model: the model.
            profile: its profile, of the path measure that the solver needs.
            denoise: counting evaluator of the model.
            stages: where progress goes.
            paths: the flow's paths, as far as they were kept.
        """
        self._request, self._model, self._profile, self._denoise, self._stages = request, model, profile, denoise, stages
        self._paths = paths if request.terminal.value == "zero" else None
        span = {"sigma_max": float(profile.levels[0]), "sigma_min": float(profile.levels[-1])}
        self._schedules = StockSchedules(profile, SOLVERS[request.solver], model.process, **span)
        self.problem = Problem(
            SOLVERS[request.solver],
            denoise,
            request.steps,
            request.terminal.value,
            float(profile.levels[0]),
            float(profile.levels[-1]),
            request.seed,
        )

    def search(self) -> Validated:
        """The best answer that the effort buys, and its report."""
        request = self._request
        search = Search(self.problem, self._profile, self._model.process, request.effort.value, paths=self._paths)
        self._stages.enter("validate", search.budget)
        *_, found = search.run()
        return self._reported(found)

    def check(self, candidate: Candidate) -> Validated:
        """A schedule that was asked for by name, with its report beside the likeliest hand-made ones; it is the answer even if it loses."""
        stock = self.stock(self.problem.steps)
        return reported(Validated(candidate), self.problem, self._known(stock), self._stages, families=self._families())

    def stock(self, steps: int) -> list[Candidate]:
        """All hand-made schedules of so many steps, those of least cost from the profile first."""
        return with_weights(self.problem, self._schedules.candidates(steps, self.problem.terminal))

    def _known(self, stock: Sequence[Candidate]) -> list[Candidate]:
        """The first of them, and those that everybody knows."""
        return [*stock[:1], *(each for each in stock[1:] if each.name in _KNOWN)]

    def _reported(self, found: Found) -> Validated:
        reason = "no optimized schedule had a smaller validation error" if found.candidate.stock and not found.improved else None
        best = found.stock[:1]
        others = [each for each in self.stock(self.problem.steps) if each.name not in {one.name for one in best}]
        compared = self._known([*best, *others])
        answer = Validated(found.candidate, found.improved, None, found.evaluations, reason, compared[:REPORTED_STOCK])
        if self._request.effort is Effort.FAST:
            return answer
        return reported(answer, self.problem, compared, self._stages, families=self._families(), guarded=True)

    def _families(self) -> dict[Sampler, Family]:
        """Samplers whose evaluations for the same error an answer says: stock schedules and, beside the fitted solver, the fixed ones."""
        families: dict[Sampler, Family] = {"stock": lambda steps: self.stock(steps)[:REPORTED_STOCK]}
        if self.problem.solver.fitted:
            families["fixed"] = self._members
        return families

    def _members(self, steps: int) -> list[Candidate]:
        return fitted_members(self._profile, steps, terminal=self.problem.terminal) if steps < len(self._profile.levels) else []


def reported(
    answer: Validated,
    problem: Problem,
    stock: Sequence[Candidate],
    stages: Stages,
    *,
    families: Mapping[Sampler, Family] | None = None,
    guarded: bool = False,
) -> Validated:
    """The answer with its report, as large as the cost of an evaluation allows; without one where no reference is fine enough.

    Args:
        answer: the schedule.
        problem: solver, model and range.
        stock: hand-made schedules, the best by validation first.
        stages: where progress goes.
        families: samplers whose evaluations for the same error are wanted, by name.
        guarded: whether the best hand-made schedule takes the place of an answer that the report shows to be significantly worse; its
            own report is on noises of its own.
    """
    compared = list(stock[:REPORTED_STOCK])
    per_noise = reference_evaluations(problem.steps) + (1 + len(compared)) * problem.solver.evaluations(problem.steps)
    noises = report_noises(operations_per_evaluation(problem.denoise), per_noise, problem.denoise.device)
    stages.enter("report", noises * per_noise)
    answer = replace(answer, stock=compared)
    try:
        found = report(problem, answer.candidate, compared, noises, families=families)
        if not loses(found):
            return replace(answer, report=found)
        if not guarded:
            return replace(answer, report=found, reason=LOST)
        stages.enter("report", noises * per_noise)
        served = replace(answer, candidate=compared[0], improved=False, reason=LOST)
        again = report(problem, compared[0], compared, noises, families=families, first=noises)
        return replace(served, report=replace(again, evaluations=found.evaluations + again.evaluations))
    except UnresolvedError as error:
        return replace(answer, reason=str(error))


def loses(found: Report) -> bool:
    """Whether the best hand-made schedule's error is significantly smaller on the report's noises."""
    best = found.stock[found.best_stock]
    return bool(np.all(best > 0)) and ratio_interval(found.ours, best)[0] > 1


def with_weights(problem: Problem, stock: list[Candidate]) -> list[Candidate]:
    """Hand-made schedules as the solver runs them: the fitted solver with the weights of DPM-Solver++(2M)."""
    if not problem.solver.fitted:
        return stock
    method = SOLVERS["dpmpp_2m"]
    return [Candidate(each.name, each.levels, stock=True, weights=printed_weights(method, each.levels)) for each in stock]
