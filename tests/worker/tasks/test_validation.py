"""Reports of answers: what loses gives way, or is marked where it was asked for by name."""

import numpy as np
import pytest

from tests.ays.problems import evaluator
from tests.worker.tasks.pipelines import Memory
from worker.ays.analytic import power_law_gaussian
from worker.ays.schedule import edm, log_snr
from worker.ays.search.candidates import Candidate
from worker.ays.search.report import report, report_noises
from worker.ays.search.rollouts import Problem
from worker.ays.solvers import SOLVERS
from worker.tasks.answer import error_of
from worker.tasks.stages import Stages
from worker.tasks.validation import LOST, Validated, reported

LAW = power_law_gaussian(24, sigma_min=0.02, sigma_max=20.0)
STEPS = 8
SPAN = {"sigma_max": 20.0, "sigma_min": 0.02, "terminal": "zero"}
STOCK = [Candidate("log_snr", log_snr(STEPS, **SPAN), stock=True), Candidate("edm", edm(STEPS, **SPAN), stock=True)]
BAD = Candidate("optimized", np.append(np.geomspace(20.0, 5.0, STEPS), 0.0))


def problem() -> Problem:
    return Problem(SOLVERS["dpmpp_2m"], evaluator(LAW), STEPS, "zero", 20.0, 0.02, 0)


def test_an_answer_that_its_report_shows_to_lose_gives_way_with_a_report_of_its_own() -> None:
    asked = problem()
    found = reported(Validated(BAD, improved=True), asked, STOCK, Stages(Memory()), guarded=True)
    assert (found.candidate, found.improved, found.reason) == (STOCK[0], False, LOST)
    assert found.report is not None
    noises = report_noises(2400, 500, "cpu")
    own = report(problem(), STOCK[0], STOCK, noises, first=noises)
    np.testing.assert_array_equal(found.report.ours, own.ours, err_msg="none of the noises that decided")
    first = report(problem(), BAD, STOCK, noises)
    assert not np.isin(own.ours, first.stock["log_snr"]).any()
    assert found.report.evaluations == first.evaluations + own.evaluations


def test_an_answer_that_was_asked_for_by_name_stays_and_is_marked() -> None:
    found = reported(Validated(BAD), problem(), STOCK, Stages(Memory()))
    assert (found.candidate, found.reason) == (BAD, LOST)
    assert found.report is not None
    assert found.report.ours.mean() > found.report.stock["log_snr"].mean()


def test_an_answer_that_does_not_lose_is_not_marked() -> None:
    found = reported(Validated(STOCK[0]), problem(), STOCK[1:], Stages(Memory()), guarded=True)
    assert (found.candidate, found.reason) == (STOCK[0], None)


def test_decibels_are_of_the_range_of_a_value() -> None:
    said = report(problem(), STOCK[0], STOCK, 64)
    assert error_of(said).psnr_db is None
    decibels = error_of(said, (-1.0, 1.0)).psnr_db
    assert decibels == pytest.approx(10 * np.log10(4 / (said.ours.mean() / 24)))
