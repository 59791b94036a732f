"""The requested cell: the search, as progress, and its report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ays_client.contract import Effort, JobRequest
from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.ays.profile.profile import Profile
from worker.ays.search.candidates import Candidate, stock_candidates
from worker.ays.search.operations import operations_per_evaluation
from worker.ays.search.reference import ReferenceSet
from worker.ays.search.report import Report, UnresolvedError, reference_evaluations, report, report_noises
from worker.ays.search.rollouts import Problem
from worker.ays.search.search import Found, Search
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import printed_weights
from worker.models.loaded import LoadedModel
from worker.tasks.stages import Stages

REPORTED_STOCK = 3
"""Hand-made schedules in a report: the best by validation and the two that everybody knows."""
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
    """

    candidate: Candidate
    improved: bool = False
    report: Report | None = None
    evaluations: int = 0
    reason: str | None = None

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
        """A given schedule with its report, beside the likeliest hand-made ones."""
        return self._reported(Found(candidate, False, self._profile.levels[:0], self.stock(), 0))

    def stock(self) -> list[Candidate]:
        """The likeliest hand-made schedules, by their cost from the profile."""
        problem = self.problem
        span = {"sigma_max": problem.sigma_max, "sigma_min": problem.sigma_min}
        found = stock_candidates(
            self._profile, problem.solver, problem.steps, **span, terminal=problem.terminal, process=self._model.process
        )
        return with_weights(problem, [*found[:1], *(each for each in found[1:] if each.name in _KNOWN)][:REPORTED_STOCK])

    def _reported(self, found: Found) -> Validated:
        reason = "no optimized schedule had a smaller validation error" if found.candidate.stock and not found.improved else None
        answer = Validated(found.candidate, found.improved, None, found.evaluations, reason)
        if self._request.effort is Effort.FAST:
            return answer
        best = found.stock[:1]
        known = [each for each in self.stock() if each.name not in {one.name for one in best}]
        return reported(answer, self.problem, [*best, *known], self._stages)


def reported(answer: Validated, problem: Problem, stock: Sequence[Candidate], stages: Stages) -> Validated:
    """The answer with its report, as large as the cost of an evaluation allows; without one where no reference is fine enough.

    Args:
        answer: the schedule.
        problem: solver, model and range.
        stock: hand-made schedules, the best by validation first.
        stages: where progress goes.
    """
    compared = list(stock[:REPORTED_STOCK])
    per_noise = reference_evaluations(problem.steps) + (1 + len(compared)) * problem.solver.evaluations(problem.steps)
    noises = report_noises(operations_per_evaluation(problem.denoise), per_noise, problem.denoise.device)
    stages.enter("report", noises * per_noise)
    try:
        return replace(answer, report=report(problem, answer.candidate, compared, noises))
    except UnresolvedError as error:
        return replace(answer, reason=str(error))


def with_weights(problem: Problem, stock: list[Candidate]) -> list[Candidate]:
    """Hand-made schedules as the solver runs them: the fitted solver with the weights of DPM-Solver++(2M)."""
    if not problem.solver.fitted:
        return stock
    method = SOLVERS["dpmpp_2m"]
    return [Candidate(each.name, each.levels, stock=True, weights=printed_weights(method, each.levels)) for each in stock]
