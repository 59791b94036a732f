"""The pipeline at its borders: discrete and flow models, crashes between shards, denoisers that misbehave, data at one point."""

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ays_client.contract import JobRequest, ProfileInfo, Schedule, Source, Terminal, identity
from tests.worker.tasks.pipelines import PROFILE, SMALL_TABLE, Counted, Interrupted, Memory, model, optimize, request, small_table
from worker.ays.denoise import DenoiserError
from worker.ays.noise import VP, Flow, scaled_linear_betas
from worker.ays.profile.profile import MEAN_PATHS
from worker.ays.solvers import SOLVERS
from worker.models.registry import Registry
from worker.tasks.guard import THIN_ROW
from worker.tasks.measure import RangeError
from worker.tasks.outcome import Outcome

CELLS = 3 * 2 * 31 - 1
"""Of three solvers, 2 to 32 steps on 32 levels; the fitted one's last step needs a level of its own to end at."""


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Tables of three solvers."""
    with small_table():
        yield


@pytest.fixture(scope="module")
def first() -> tuple[Outcome, Memory, Counted]:
    """A first request at the default effort: profile, validated cell and the table around it."""
    host, denoiser = Memory(), Counted()
    return optimize(request(effort="standard"), model(denoiser), host), host, denoiser


def assert_sound(schedule: Schedule, *, low: float, high: float) -> None:
    """What every consumer relies on."""
    sigmas = np.array(schedule.sigmas)
    assert len(sigmas) == schedule.steps + 1
    assert SOLVERS[schedule.solver].evaluations(schedule.steps) == schedule.nfe
    assert np.all(np.diff(sigmas) < 0)
    assert sigmas[0] <= high * (1 + 1e-9)
    assert sigmas[:-1].min() >= low * (1 - 1e-9)
    assert sigmas[-1] == (0 if schedule.terminal is Terminal.ZERO else pytest.approx(low, rel=1e-12))
    assert len(schedule.timesteps) == schedule.steps
    assert np.all(np.diff(schedule.timesteps) < 0)
    assert identity(schedule.model_copy(update={"id": "", "formats": {}})) == schedule.id
    text = schedule.model_dump_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in {text}"))
    assert Schedule.model_validate_json(text) == schedule


def test_every_cell_of_a_discrete_model_has_native_times(first) -> None:
    outcome, _, _ = first
    process = VP(scaled_linear_betas())
    assert len({schedule.id for schedule in outcome.schedules}) == len(outcome.schedules) == CELLS
    for schedule in outcome.schedules:
        assert_sound(schedule, low=0.03, high=14.0)
        assert process.sigma(schedule.timesteps) == pytest.approx(schedule.sigmas[:-1], rel=1e-9)
        if schedule.timesteps_int is not None:
            assert np.all(np.diff(schedule.timesteps_int) < 0)
            assert schedule.timesteps_int == pytest.approx(schedule.timesteps, abs=0.5)


def test_the_requested_cell_is_the_only_validated_one(first) -> None:
    outcome, _, _ = first
    asked = outcome.requested
    assert [schedule for schedule in outcome.schedules if schedule.validated] == [asked]
    assert asked.error is not None
    assert asked.error.ratio is not None
    assert asked.error.ratio.interval[0] <= 1
    assert asked.klub is not None
    assert 0 < asked.klub.ours.standard_error < asked.klub.ours.mean


def test_a_stock_schedule_in_the_table_says_why(first) -> None:
    for schedule in first[0].schedules:
        assert (schedule.source is Source.STOCK) == (schedule.provenance.reason is not None)


def test_every_evaluation_is_accounted_for(first) -> None:
    outcome, host, counted = first
    assert outcome.profile is not None
    assert outcome.profile.evaluations == PROFILE == outcome.requested.provenance.profile_evaluations
    counts = [progress.evaluations for progress in host.seen]
    assert counts == sorted(counts)
    assert counts[-1] <= counted.evaluations
    denoiser = Counted()
    again = optimize(request(effort="standard"), model(denoiser), Memory(stored=outcome.profile)).requested.provenance
    assert denoiser.evaluations == again.evaluations + again.report_evaluations + 1, "one to count its operations"


def test_a_stored_profile_gives_the_answers_of_the_table(first) -> None:
    """Through JSON and back, where the guard lets both pass."""
    stored = ProfileInfo.model_validate_json(first[0].profile.model_dump_json())
    table = {(s.solver.value, s.terminal.value, s.nfe): s for s in first[0].schedules}
    for solver, terminal, nfe in (("dpmpp_2m_sde", "sigma_min", 4), ("dpmpp_2m", "sigma_min", 32)):
        denoiser = Counted()
        found = optimize(request(solver=solver, terminal=terminal, nfe=nfe), model(denoiser), Memory(stored=stored))
        if found.requested.source is Source.OPTIMIZED:
            assert found.requested.sigmas == table[solver, terminal, nfe].sigmas
        assert denoiser.evaluations <= 8 * (32 + 4 * sum(THIN_ROW)), "eight paths, and on them four schedules for every number of steps"


@pytest.mark.parametrize(("nfe", "steps"), [(3, 2), (9, 5), (63, 32)])
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_heun_spends_two_evaluations_a_step_but_one_at_the_end(first, nfe: int, steps: int, terminal: str) -> None:
    asked = request(nfe=nfe, solver="heun", terminal=terminal)
    found = optimize(asked, model(), Memory(stored=first[0].profile)).requested
    assert found.steps == steps
    assert_sound(found, low=0.03, high=14.0)


def moments(profile: ProfileInfo | None) -> tuple[object, ...]:
    assert profile is not None
    return profile.levels, profile.moments, profile.standard_errors, profile.loss, profile.evaluations, profile.paths


def crash(_: Tensor) -> Tensor:
    msg = "device lost"
    raise RuntimeError(msg)


def test_a_crashed_job_resumes_from_its_shards_to_the_identical_answer(first) -> None:
    host = Memory()
    with pytest.raises(RuntimeError, match="device lost"):
        optimize(request(effort="standard"), model(Counted(until=2 * 20 * 32, then=crash)), host)
    assert list(host.kept) == ["0-16"]
    denoiser = Counted()
    with small_table():
        outcome = optimize(request(effort="standard"), model(denoiser), host)
    assert moments(outcome.profile) == moments(first[0].profile)
    assert outcome.requested.id == first[0].requested.id
    spared = first[2].evaluations - denoiser.evaluations
    assert 2 * 16 * 32 - 8 * 31 <= spared <= 2 * 16 * 32, "the guard solves eight of the paths again"
    assert host.kept == first[1].kept


def test_a_job_that_its_host_stops_after_the_profile_measures_nothing_again(first) -> None:
    host = Memory(stop_at="validate")
    with pytest.raises(Interrupted):
        optimize(request(effort="standard"), model(), host)
    assert host.kept == first[1].kept
    host.stop_at, denoiser = "guard", Counted()
    with pytest.raises(Interrupted):
        optimize(request(), model(denoiser), host)
    assert denoiser.evaluations == 0


def test_shards_of_another_grid_are_left_alone(first) -> None:
    host, denoiser = Memory(stop_at="table", kept=dict(first[1].kept)), Counted()
    with pytest.raises(Interrupted):
        optimize(request(sigma_max=13.0), model(denoiser), host)
    assert denoiser.evaluations == PROFILE + 3 * MEAN_PATHS, "each shard estimates the data's mean"


def test_a_model_without_data_provides_its_own_samples(first) -> None:
    host = Memory(stop_at="table")
    with pytest.raises(Interrupted):
        optimize(request(), model(data=None), host)
    (flow, forward), (same_flow, other_forward) = (json.loads(kept["0-16"]) for kept in (host.kept, first[1].kept))
    assert flow == same_flow
    assert forward["groups"] != other_forward["groups"]


@pytest.mark.parametrize("span", [{"sigma_min": 1e-4}, {"sigma_max": 15.0}, {"sigma_min": None, "sigma_max": 0.02}])
def test_noise_levels_that_the_model_lacks_are_refused_before_any_work(span: dict[str, float | None]) -> None:
    denoiser = Counted()
    match = r"received sigma_min=.*, sigma_max=.*; expected 0\.029\d+ <= sigma_min < sigma_max <= 14\.61\d+, the range of model 'plane'"
    with pytest.raises(RangeError, match=match):
        optimize(request(**span), model(denoiser), Memory())
    assert denoiser.evaluations == 0


def test_the_whole_range_is_the_default() -> None:
    host, process = Memory(stop_at="table"), VP(scaled_linear_betas())
    with pytest.raises(Interrupted):
        optimize(request(sigma_min=None, sigma_max=None, paths=2), model(process=process), host)
    levels = json.loads(host.kept["0-2"])[0]["levels"]
    assert (levels[0], levels[-1]) == (process.sigma_max, process.sigma_min)


@pytest.mark.parametrize("until", [0, PROFILE // 2, PROFILE + 500], ids=["at once", "in the profile", "while validating"])
def test_a_denoiser_that_turns_to_nan_is_refused_in_words(until: int) -> None:
    broken = Counted(until=until, then=lambda x: torch.full_like(x, math.nan))
    with pytest.raises(DenoiserError, match=r"the denoiser returned NaN or infinity at sigma in \[.*\]; check its precision"):
        optimize(request(effort="standard"), model(broken), Memory())


def test_a_denoiser_of_the_wrong_shape_is_refused_in_words() -> None:
    broken = Counted(until=0, then=lambda x: x[:, :1])
    with pytest.raises(DenoiserError, match=r"the denoiser returned shape \(16, 1\); expected \(16, 2\)"):
        optimize(request(), model(broken), Memory())


@pytest.mark.parametrize("solver", ["dpmpp_2m", "sddim", "heun"])
def test_data_at_one_point_has_schedules_too(solver: str) -> None:
    """A constant denoiser of a flow model: no cost and no error anywhere, so nothing may be divided by it."""
    constant = Counted(until=0, then=lambda x: torch.full_like(x, 0.25))
    asked = request(effort="standard", grid=16, paths=2, solver=solver, nfe=5)
    outcome = optimize(asked, model(constant, process=Flow(), data=None), Memory())
    assert outcome.requested.error is not None
    assert outcome.requested.error.ours.mean == pytest.approx(0, abs=1e-12)
    assert len(outcome.schedules) == 3 * 2 * 15 - 1 + (solver not in SMALL_TABLE)
    for schedule in outcome.schedules:
        assert_sound(schedule, low=0.03, high=14.0)
        assert schedule.t == pytest.approx([sigma / (1 + sigma) for sigma in schedule.sigmas])
        assert schedule.timesteps == pytest.approx(schedule.t[:-1])


def test_more_steps_than_noise_levels_are_refused() -> None:
    expected = r"received nfe=40, which is 40 steps, for a profile of grid=32 noise levels; expected at most one step for each level; "
    with pytest.raises(ValidationError, match=expected + "ask for grid=40 or more, or for fewer evaluations"):
        request(nfe=40)
    assert request(nfe=63, solver="heun").steps == 32
    assert request(nfe=40, method="paper").nfe == 40, "the paper's search has no grid to run out of"


def test_the_mixture_in_the_box_is_optimized() -> None:
    loaded = Registry(None).load("mixture")
    outcome = optimize(JobRequest(model="mixture", nfe=8, grid=48, paths=4), loaded, Memory())
    for schedule in outcome.schedules:
        assert_sound(schedule, low=loaded.process.sigma_min, high=loaded.process.sigma_max)
    assert outcome.requested.error is not None
    assert outcome.requested.error.ratio is not None
    assert outcome.requested.error.ratio.interval[0] <= 1
