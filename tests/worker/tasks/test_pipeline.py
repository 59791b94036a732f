"""The pipeline: one measurement, the whole table, the requested cell; resumable, repeatable, and clear about what it cannot do."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ays_client.contract import JobRequest, ProfileInfo, Progress, Schedule, identity
from tests.worker.tasks.pipelines import SMALL_TABLE, optimize, small_table
from worker.ays.analytic import power_law_gaussian
from worker.ays.denoise import DenoiserError
from worker.ays.noise import VE
from worker.ays.search.search import BUDGET, FITTED_BUDGET
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel
from worker.tasks.measure import RangeError, planned_evaluations
from worker.tasks.outcome import Outcome

LAW = power_law_gaussian(24, sigma_min=0.02, sigma_max=20.0)
MODEL = LoadedModel(
    id="spectrum",
    title="a small Gaussian",
    denoiser=LAW,
    process=VE(sigma_min=0.02, sigma_max=20.0),
    fingerprint="f" * 32,
    prediction_type=None,
    guidance_scale=None,
    data=None,
)


@dataclass
class Shelf:
    """A host that keeps everything in memory and may be interrupted when it is full."""

    room: int = 10**6
    kept: dict[str, str] = field(default_factory=dict)
    stored: ProfileInfo | None = None
    judged: list[Schedule] = field(default_factory=list)
    seen: list[Progress] = field(default_factory=list)
    published: list[Schedule] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        self.seen.append(progress)

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str]:
        del arrived
        for shard in shards:
            if shard not in self.kept:
                self.kept[shard] = measure(shard)
                if len(self.kept) == self.room:
                    raise InterruptedError
        return {shard: self.kept[shard] for shard in shards}

    def profile(self) -> ProfileInfo | None:
        return self.stored

    def publish(self, profile: ProfileInfo, table: list[Schedule]) -> None:
        self.stored, self.published = profile, table

    def validated(self) -> list[Schedule]:
        return self.judged


def request(**changes: object) -> JobRequest:
    return JobRequest.model_validate({"model": "spectrum", "nfe": 6, "grid": 24, "paths": 8, "effort": "fast"} | changes)


@pytest.fixture(scope="module")
def fast() -> Outcome:
    return optimize(request(), MODEL, Shelf())


@pytest.fixture(scope="module")
def forty() -> Outcome:
    """The same of a profile of three shards."""
    with small_table():
        return optimize(request(paths=40), MODEL, Shelf())


@pytest.fixture
def _small_table() -> Iterator[None]:
    with small_table():
        yield


def test_the_table_holds_every_cell_and_each_is_a_schedule(fast: Outcome) -> None:
    cells = {(s.solver.value, s.terminal.value, s.nfe): s for s in fast.schedules}
    expected = {
        (solver.name, terminal, nfe)
        for solver in SOLVERS.values()
        for terminal in ("zero", "sigma_min")
        for nfe in range(2, 65)
        if (solver.evaluations_per_step == 1 or nfe % 2) and solver.steps(nfe) <= 24 - (solver.fitted and terminal == "sigma_min")
    }
    assert set(cells) == expected
    for (solver, terminal, nfe), schedule in cells.items():
        assert schedule.steps == len(schedule.sigmas) - 1 == len(schedule.timesteps) == SOLVERS[solver].steps(nfe)
        assert np.all(np.diff(schedule.sigmas) < 0)
        assert 0.02 < schedule.sigmas[0] <= 20.0 * (1 + 1e-9)
        assert schedule.sigmas[-1] == (0 if terminal == "zero" else pytest.approx(0.02))
        assert min(schedule.sigmas[:-1]) >= 0.02 * (1 - 1e-9)
        assert not schedule.validated
        assert schedule.klub is not None
        assert set(schedule.klub.stock) == ({"edm", "log_snr"} if schedule.steps > 1 else set())
        assert [len(row) for row in schedule.weights or []] == [min(step, 4) for step in range(1, nfe + 1) if solver == "fitted"]
        assert [sum(row) for row in schedule.weights or []] == pytest.approx([1.0] * len(schedule.weights or []))
        assert schedule.id == identity(schedule.model_copy(update={"id": "", "formats": {}}))
        json.dumps(schedule.model_dump(mode="json"), allow_nan=False)


def test_the_profile_costs_what_was_announced(fast: Outcome) -> None:
    assert fast.profile is not None
    assert fast.profile.evaluations == planned_evaluations(request().variant) == 2 * 8 * 24
    assert fast.profile.id == identity(request().variant)
    assert fast.profile == ProfileInfo.model_validate_json(fast.profile.model_dump_json())


@pytest.mark.usefixtures("_small_table")
def test_the_same_request_gives_the_same_answer(fast: Outcome) -> None:
    again = {s.id for s in optimize(request(), MODEL, Shelf()).schedules}
    assert again == {s.id for s in fast.schedules if s.solver.value in SMALL_TABLE}


@pytest.mark.usefixtures("_small_table")
def test_a_retried_job_goes_on_from_its_shards_and_gives_the_same_profile(forty: Outcome) -> None:
    asked, whole = request(paths=40), forty.profile
    first = Shelf(room=2)
    with pytest.raises(InterruptedError):
        optimize(asked, MODEL, first)
    assert len(first.kept) == 2
    second = Shelf(kept=first.kept)
    resumed = optimize(asked, MODEL, second).profile
    assert whole is not None
    assert resumed is not None
    assert (resumed.moments, resumed.standard_errors) == (whole.moments, whole.standard_errors)
    assert max(progress.evaluations for progress in second.seen if progress.stage == "profile") < whole.evaluations


def test_a_stored_profile_is_not_measured_again_and_only_what_was_asked_for_comes_back(fast: Outcome) -> None:
    outcome = optimize(request(nfe=9, effort="standard", solver="ddim"), MODEL, Shelf(stored=fast.profile))
    assert outcome.profile is None
    assert outcome.schedules == [outcome.requested]
    assert outcome.requested.validated
    assert outcome.requested.klub is not None
    assert outcome.requested.error is not None
    assert set(outcome.requested.klub.stock) == set(outcome.requested.error.stock)


def test_a_fast_answer_does_not_depend_on_what_was_validated_before(fast: Outcome) -> None:
    shelf = Shelf(stored=fast.profile)
    shelf.judged.append(optimize(request(nfe=9, effort="standard", solver="ddim"), MODEL, shelf).requested)
    alone = optimize(request(nfe=10, solver="ddim"), MODEL, Shelf(stored=fast.profile))
    assert optimize(request(nfe=10, solver="ddim"), MODEL, shelf).requested == alone.requested


@pytest.mark.usefixtures("_small_table")
def test_an_answer_is_the_same_whichever_job_has_measured_the_profile(forty: Outcome) -> None:
    stored = optimize(request(paths=40, nfe=9), MODEL, Shelf()).profile
    other = optimize(request(paths=40), MODEL, Shelf(stored=stored))
    assert other.requested == forty.requested


@pytest.mark.usefixtures("_small_table")
def test_a_profile_of_other_weights_is_not_used(fast: Outcome) -> None:
    other = optimize(request(), replace(MODEL, fingerprint="e" * 32), Shelf(stored=fast.profile))
    assert other.profile is not None
    assert other.profile.fingerprint == "e" * 32


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "sddim", "dpmpp_2m_sde", "heun"])
def test_an_answer_is_not_significantly_worse_than_the_best_stock_schedule(fast: Outcome, solver: str) -> None:
    found = optimize(request(solver=solver, nfe=7, effort="standard"), MODEL, Shelf(stored=fast.profile)).requested
    assert found.error is not None
    assert found.error.ratio is not None
    assert found.error.ratio.interval[0] <= 1
    assert found.error.ours.interval is not None
    assert found.error.ours.interval[0] < found.error.ours.mean < found.error.ours.interval[1]
    assert found.error.reference_error is not None
    assert found.error.reference_error <= 0.1 * found.error.ours.mean
    assert found.provenance.evaluations < 1.1 * BUDGET["standard"]


@pytest.mark.usefixtures("_small_table")
@pytest.mark.parametrize("effort", ["fast", "standard"])
def test_a_fitted_answer_has_weights_and_a_fraction_of_the_error_of_stock(effort: str) -> None:
    found = optimize(request(solver="fitted", nfe=6, effort=effort, grid=64, paths=16), MODEL, Shelf()).requested
    assert found.weights is not None
    assert [len(row) for row in found.weights] == [1, 2, 3, 4, 4, 4]
    assert [sum(row) for row in found.weights] == pytest.approx([1.0] * 6)
    assert found.validated == (effort == "standard")
    if found.error is not None:
        assert found.error.ours.mean < 0.25 * min(stock.mean for stock in found.error.stock.values())


@pytest.mark.usefixtures("_small_table")
@pytest.mark.parametrize("effort", ["fast", "standard"])
def test_the_fitted_solver_keeps_to_its_budget(effort: str) -> None:
    found = optimize(request(solver="fitted", nfe=6, effort=effort, grid=64, paths=16), MODEL, Shelf()).requested
    assert 0 < found.provenance.evaluations <= FITTED_BUDGET[effort]


def test_a_chosen_detail_is_optimized_and_judged_but_not_searched_for(fast: Outcome) -> None:
    outcome = optimize(request(detail=0.5, effort="standard"), MODEL, Shelf(stored=fast.profile))
    provenance = outcome.requested.provenance
    assert (provenance.detail, provenance.refined, outcome.requested.validated) == (0.5, False, True)
    assert outcome.requested.sigmas[0] <= 20.0 * (1 + 1e-9)


@pytest.mark.usefixtures("_small_table")
def test_a_range_within_the_models_range_is_kept_and_one_outside_is_refused() -> None:
    inside = optimize(request(sigma_min=0.1, sigma_max=5.0), MODEL, Shelf()).requested
    assert (inside.sigma_min, inside.sigma_max) == (0.1, 5.0)
    assert 0.1 < inside.sigmas[0] <= 5.0 * (1 + 1e-9)
    with pytest.raises(RangeError, match=r"received sigma_min=0.001, sigma_max=20; expected 0.02 <= sigma_min < sigma_max <= 20"):
        optimize(request(sigma_min=0.001), MODEL, Shelf())


class Poisoned:
    """A denoiser that breaks below a level."""

    def __init__(self) -> None:
        self.shape, self.sigma_min, self.sigma_max = LAW.shape, LAW.sigma_min, LAW.sigma_max
        self.dtype, self.device = LAW.dtype, LAW.device

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return torch.where(sigma.unsqueeze(1) < 0.5, torch.nan, LAW.denoise(x, sigma))


def test_a_denoiser_that_breaks_is_named() -> None:
    with pytest.raises(DenoiserError, match="returned NaN or infinity at sigma"):
        optimize(request(), replace(MODEL, denoiser=Poisoned()), Shelf())


@pytest.mark.usefixtures("_small_table")
def test_data_of_the_wrong_shape_is_refused_and_right_data_is_used() -> None:
    wrong = replace(MODEL, data=lambda n, _generator: torch.zeros(n, 3))
    with pytest.raises(ValueError, match=r"sample_data of model 'spectrum' returned shape \(8, 3\); expected \(8, 24\)"):
        optimize(request(), wrong, Shelf())
    profile = optimize(request(paths=64), replace(MODEL, data=LAW.sample_data), Shelf()).profile
    assert profile is not None
    assert profile.loss is not None
    for level, loss, error in zip(profile.levels, profile.loss, np.diag(profile.standard_errors["forward"]), strict=True):
        assert abs(loss - LAW.mmse(level)) < 4.5 * error


@pytest.mark.usefixtures("_small_table")
def test_progress_names_its_stages_in_order_and_never_runs_over() -> None:
    shelf = Shelf()
    optimize(request(effort="standard"), MODEL, shelf)
    stages = list(dict.fromkeys(progress.stage for progress in shelf.seen))
    assert stages == ["profile", "table", "validate", "report", "store"]
    assert all(0 <= progress.done <= progress.total for progress in shelf.seen)
