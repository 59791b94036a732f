"""The guard: what is not validated is not worse than a hand-made schedule on the profile's own paths, and says so where it would be."""

from collections.abc import Iterator

import numpy as np
import pytest

from ays_client.contract import Source, Terminal
from tests.worker.tasks.pipelines import Counted, Memory, model, optimize, request, small_table
from tests.worker.tasks.test_pipeline import MODEL as SPECTRUM
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream
from worker.ays.schedule import moved_ends, stock_schedules
from worker.ays.search.candidates import Candidate
from worker.ays.search.rollouts import Problem
from worker.ays.search.weight import default_weight
from worker.ays.solvers import SOLVERS
from worker.tasks.guard import REASON
from worker.tasks.outcome import Outcome
from worker.tasks.profile_body import restore
from worker.tasks.table import Optimizer


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with small_table():
        yield


@pytest.fixture(scope="module")
def first() -> Outcome:
    """Of a request for six steps of 2M, and its table."""
    return optimize(request(), model(), Memory())


def test_a_fast_answer_that_loses_to_a_hand_made_schedule_is_that_schedule(first: Outcome) -> None:
    """On the plane the optimum of six steps of 2M loses on the profile's own paths."""
    asked = request()
    found = optimize(asked, model(), Memory(stored=first.profile)).requested
    assert (found.source, found.validated, found.provenance.reason) == (Source.STOCK, False, REASON)
    assert found.provenance.detail is None
    span = {"sigma_max": 14.0, "sigma_min": 0.03, "terminal": "zero"}
    stock = stock_schedules(6, **span, process=model().process) | moved_ends(6, **span)
    assert found.sigmas == stock[found.provenance.candidate].tolist()
    profile, solver = restore(first.profile, "flow"), SOLVERS["dpmpp_2m"]
    optimum = Optimizer(profile, solver, "zero", default_weight(profile, solver), steps_max=6).levels(6)
    problem = Problem(solver, Evaluator(Counted(), batch=64), 6, "zero", 14.0, 0.03, 0)
    ours, theirs = problem.errors(
        [Candidate("ours", optimum), Candidate("theirs", np.array(found.sigmas))], problem.references(Stream.PROFILE, range(8), 128)
    )
    assert theirs.mean() < ours.mean()


def test_a_fast_answer_that_wins_is_the_optimum(first: Outcome) -> None:
    found = optimize(request(solver="ddim"), model(), Memory(stored=first.profile)).requested
    assert (found.source, found.provenance.candidate, found.provenance.reason) == (Source.OPTIMIZED, None, None)
    assert found.provenance.detail == 2.1


@pytest.mark.parametrize("solver", ["dpmpp_2m", "ddim", "sddim", "fitted"])
def test_a_fast_answer_does_not_depend_on_what_was_asked_before(solver: str) -> None:
    alone = optimize(request(solver=solver), model(), Memory()).requested
    other = optimize(request(solver="heun", nfe=7), model(), Memory())
    assert optimize(request(solver=solver), model(), Memory(stored=other.profile)).requested == alone


def test_cells_beside_one_that_loses_are_hand_made_and_the_others_are_not(first: Outcome) -> None:
    row = {s.nfe: s for s in first.schedules if s.solver == "dpmpp_2m" and s.terminal is Terminal.ZERO and s is not first.requested}
    lost = {nfe for nfe, cell in row.items() if cell.source is Source.STOCK}
    assert lost == {5, *range(7, 33)}, "four steps win; six, the requested ones, and all that run above them lose"
    assert {row[nfe].provenance.reason for nfe in lost} == {REASON}
    assert {cell.provenance.reason for nfe, cell in row.items() if nfe not in lost} == {None}


def test_the_paper_s_weight_is_reported_and_a_loss_shows() -> None:
    """Asked for by name it is not replaced; the interval of its ratio lies above 1."""
    asked = request(model="spectrum", detail=0, effort="standard", grid=24, paths=8, sigma_min=None, sigma_max=None)
    found = optimize(asked, SPECTRUM, Memory()).requested
    provenance, error = found.provenance, found.error
    assert (provenance.detail, provenance.refined, provenance.evaluations, found.validated) == (0, False, 0, True)
    assert found.source is Source.OPTIMIZED
    assert error is not None
    assert error.ratio is not None
    assert 1 < error.ratio.interval[0] < error.ratio.value
    assert provenance.report_evaluations >= error.noises * (129 + 6 * (1 + len(error.stock)))
