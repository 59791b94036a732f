"""`method=paper` as a job: early stopping by validation, the record of its search, a table of its own, honest counts."""

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from ays_client.contract import JobRequest, Method, Schedule, Source
from tests.worker.tasks.pipelines import LAW, Counted, Interrupted, Memory, model
from worker.ays.noise import VE
from worker.ays.schedule import edm, time_uniform
from worker.ays.solvers import SOLVERS
from worker.models.loaded import LoadedModel, SampleData
from worker.tasks.outcome import Outcome
from worker.tasks.pipeline import optimize
from worker.tasks.validation import REPORTED_STOCK

RANGE = {"sigma_min": 0.03, "sigma_max": 14.0}
OPTIONS = {"samples": 32, "sweeps": 5, "patience": 2, "midpoint_sweeps": 1}

OPERATIONS_COUNTED = 1
"""Evaluations in which the operations of one are counted."""


def request(**changes: object) -> JobRequest:
    body = {"model": "plane", "grid": 32, "nfe": 7, "solver": "ddim", "effort": "fast", "method": "paper", "paper": OPTIONS}
    return JobRequest.model_validate(body | RANGE | changes)


def ve(denoiser: Counted, **changes: object) -> LoadedModel:
    return model(denoiser, VE(sigma_min=denoiser.sigma_min, sigma_max=denoiser.sigma_max), **changes)


@pytest.fixture(scope="module")
def run() -> tuple[Outcome, Counted, Memory]:
    """With the default options, which fill the table."""
    denoiser, host = Counted(), Memory()
    return optimize(request(paper=None), ve(denoiser), host), denoiser, host


def test_the_kept_sweep_is_the_best_validated_one_and_not_the_last(run: tuple[Outcome, Counted, Memory]) -> None:
    sweeps = run[0].requested.provenance.sweeps
    assert sweeps is not None
    errors = [sweep.error.mean for sweep in sweeps]
    assert [sweep.kept for sweep in sweeps].index(True) == int(np.argmin(errors)) < len(sweeps) - 1
    assert sum(sweep.kept for sweep in sweeps) == 1
    assert sweeps[0].sigmas == edm(10, **RANGE, terminal="sigma_min").tolist()
    for before, after in pairwise(sweeps):
        noise = before.bound.standard_error + after.bound.standard_error
        assert after.bound.mean < before.bound.mean + noise, "the bound falls with every sweep"


def test_the_ten_steps_are_kept_in_every_finer_schedule(run: tuple[Outcome, Counted, Memory]) -> None:
    kept = next(sweep.sigmas for sweep in run[0].requested.provenance.sweeps or [] if sweep.kept)
    cells = {(s.solver.value, s.terminal.value, s.nfe): s for s in run[0].schedules}
    assert set(cells) == {
        (solver.name, terminal, nfe)
        for solver in SOLVERS.values()
        for terminal in ("zero", "sigma_min")
        for nfe in range(2, 65)
        if solver.evaluations(solver.steps(nfe)) == nfe
    }
    ten, twenty, forty = (np.array(cells["dpmpp_2m", "sigma_min", nfe].sigmas) for nfe in (10, 20, 40))
    np.testing.assert_allclose(ten, kept)
    np.testing.assert_allclose(twenty[::2], ten)
    np.testing.assert_allclose(forty[::2], twenty)
    assert not np.allclose(twenty[1::2], np.sqrt(ten[:-1] * ten[1:])), "the new ones were optimized"
    assert cells["ddim", "zero", 10].sigmas == [*kept[:-1], 0.0]
    seven = np.log(cells["sddim", "sigma_min", 7].sigmas)
    np.testing.assert_allclose(seven, np.interp(np.linspace(0, 40, 8), np.arange(41), np.log(forty)), err_msg="log-linear in the index")


def test_every_evaluation_is_counted_and_the_answer_says_how_it_came_about(run: tuple[Outcome, Counted, Memory]) -> None:
    outcome, denoiser, host = run
    answer = outcome.requested
    assert outcome.profile is None
    spent = answer.provenance.evaluations + answer.provenance.report_evaluations + OPERATIONS_COUNTED
    assert spent == denoiser.evaluations > 128 * 9 * 11
    assert (answer.provenance.method, answer.provenance.profile, answer.provenance.detail) == (Method.PAPER, None, None)
    assert answer.provenance.profile_evaluations == 0
    assert answer.validated
    assert answer.error is not None
    assert len(answer.error.stock) == REPORTED_STOCK
    assert answer.error.best_stock in answer.error.stock
    assert {s.provenance.method for s in outcome.schedules} == {Method.PAPER}
    assert not any(s.validated for s in outcome.schedules if s is not answer)
    assert list(dict.fromkeys(progress.stage for progress in host.seen)) == ["sweep", "subdivide", "validate", "report", "store"]


def test_the_same_request_is_the_same_answer_and_another_seed_another() -> None:
    def answer(**changes: object) -> Schedule:
        return optimize(request(**changes), ve(Counted()), Memory()).requested

    first = answer()
    assert answer() == first
    assert answer(seed=1).sigmas != first.sigmas


def test_options_that_somebody_chose_answer_that_request_alone() -> None:
    outcome = optimize(request(), ve(Counted()), Memory())
    assert outcome.schedules == [outcome.requested]


def test_a_model_without_data_is_searched_on_its_own_samples() -> None:
    with_data, without = Counted(), Counted()
    optimize(request(), ve(with_data), Memory())
    outcome = optimize(request(), ve(without, data=None), Memory())
    origin = outcome.requested.provenance
    assert origin.evaluations + origin.report_evaluations + OPERATIONS_COUNTED == without.evaluations
    assert outcome.requested.error is not None


def test_discrete_time_starts_from_even_timesteps() -> None:
    loaded = model(Counted())
    sweeps = optimize(request(), loaded, Memory()).requested.provenance.sweeps
    assert sweeps is not None
    assert sweeps[0].sigmas == time_uniform(10, **RANGE, terminal="sigma_min", process=loaded.process).tolist()


def test_a_stock_schedule_that_is_better_is_the_answer() -> None:
    """One sweep of narrow moves cannot repair even timesteps where another schedule is far better."""
    changes = {"paper": OPTIONS | {"sweeps": 1, "candidates": 3, "neighbourhood": 0.001}, "effort": "standard", "solver": "dpmpp_2m"}
    answer = optimize(request(**changes), model(Counted()), Memory()).requested
    assert answer.source is Source.STOCK
    assert answer.error is not None
    assert answer.error.ours == answer.error.stock[answer.provenance.candidate or ""]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paper": {"candidates": 10}}, "candidates=10 is even; ask for 9 or 11"),
        ({"method": "profile"}, "leave paper out or set method=paper"),
        ({"detail": 1.0}, "method=paper knows no detail; leave detail out"),
        ({"method": "entropic", "paper": None}, "method=entropic is for loss curves"),
        ({"model": "curve-1", "solver": "sddim"}, "ask for method=profile or method=entropic"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        request(**changes)


SHORT = {"samples": 16, "sweeps": 2, "candidates": 5, "midpoint_sweeps": 1}


@pytest.mark.parametrize("data", [LAW.sample_data, None], ids=["data", "own samples"])
def test_a_search_goes_on_after_any_of_its_steps_and_ends_with_the_same_bits(data: SampleData | None) -> None:
    """Evaluations of the finished steps are counted in the answer, and not repeated."""
    host, counted = Memory(), Counted()
    undisturbed = optimize(request(paper=SHORT), ve(counted, data=data), host).requested
    assert len(host.checkpoints) == 3 + 2 + 2, "errors of three schedules, two sweeps, one after each halving"
    for kept, checkpoint in enumerate(host.checkpoints, start=1):
        again, resumed = Counted(), Memory(checkpoints=[checkpoint])
        assert optimize(request(paper=SHORT), ve(again, data=data), resumed).requested == undisturbed
        spared = sum(evaluations for _, evaluations in json.loads(checkpoint)["steps"])
        assert again.evaluations == counted.evaluations - spared
        assert resumed.seen[-1].evaluations == again.evaluations, "progress tells what is done here"
        assert resumed.checkpoints == host.checkpoints[kept - 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: json.dumps(body)[:-1],
        lambda body: json.dumps(body | {"fingerprint": "0" * 32}),
        lambda body: json.dumps(body | {"schema_version": 0}),
        lambda body: json.dumps(body | {"steps": [[[1.0], 10**9]]}),
        lambda body: json.dumps(body | {"steps": "many"}),
        lambda body: json.dumps(body).replace("[[[", "[[[NaN, "),
    ],
)
def test_a_checkpoint_of_something_else_is_not_used(spoil: Callable[[dict[str, object]], str]) -> None:
    host, counted = Memory(stop_after=3), Counted()
    with pytest.raises(Interrupted):
        optimize(request(paper=SHORT), ve(counted), host)
    again, other = Counted(), Memory(checkpoints=[spoil(json.loads(host.checkpoints[-1]))], stop_after=4)
    with pytest.raises(Interrupted):
        optimize(request(paper=SHORT), ve(again), other)
    assert other.checkpoints[1:] == host.checkpoints
    assert again.evaluations == counted.evaluations
