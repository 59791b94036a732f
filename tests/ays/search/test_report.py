"""The report: true on exact Gaussians, where the closed form is known; on noises of its own; with a reference that is fine enough."""

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, flow_profile
from worker.ays.analytic import AnisotropicGaussian, power_law_gaussian
from worker.ays.noise import VE
from worker.ays.paths import Stream, starting_noise
from worker.ays.schedule import edm, log_snr
from worker.ays.search.candidates import Candidate
from worker.ays.search.report import FEWEST, INTERVALS, MOST, NFE_MOST, OPERATIONS, equivalent_evaluations, report, report_noises
from worker.ays.search.rollouts import Problem
from worker.ays.search.search import Search
from worker.ays.search.statistics import mean_interval
from worker.ays.solvers import SOLVERS, sample

LAW = power_law_gaussian(24, sigma_min=0.02, sigma_max=20.0)


def problem(law, name: str, steps: int) -> Problem:
    return Problem(SOLVERS[name], evaluator(law), steps, "zero", law.sigma_max, law.sigma_min, 0)


def stock(law, steps: int) -> list[Candidate]:
    rules = {"edm": edm, "log_snr": log_snr}
    span = {"sigma_max": law.sigma_max, "sigma_min": law.sigma_min, "terminal": "zero"}
    return [Candidate(name, rule(steps, **span), stock=True) for name, rule in rules.items()]


def true_error(law: AnisotropicGaussian, name: str, levels: np.ndarray, n: int = 4096) -> float:
    """Mean squared distance to the exact flow, on noises that nothing else has seen."""
    noise = starting_noise(law.shape, range(n), seed=99, stream=Stream.FRESH)
    exact = law.flow(law.sigma_max * noise, law.sigma_max, law.sigma_min)
    exact = law.denoise(exact, torch.full((n,), law.sigma_min, dtype=torch.float64))
    return (sample(SOLVERS[name], law.denoise, levels, noise) - exact).square().sum(1).mean().item()


def test_on_a_coarse_profile_the_reported_error_of_twenty_steps_is_the_true_one() -> None:
    """The whole search on a grid of sixteen levels, as a request may ask for; a reference on that grid would be coarser than the answer."""
    asked = problem(LAW, "dpmpp_2m", 15)
    *_, found = Search(asked, flow_profile(LAW, points=16, paths=16), VE(sigma_max=20.0, sigma_min=0.02), "standard").run()
    said = report(asked, found.candidate, stock(LAW, 15), 256)
    low, high = mean_interval(said.ours)
    assert low <= true_error(LAW, "dpmpp_2m", found.candidate.levels) <= high
    assert said.reference_error <= 0.1 * said.ours.mean()
    assert said.ours.mean() < min(errors.mean() for errors in said.stock.values())


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
def test_reported_errors_of_hand_made_schedules_are_true(name: str) -> None:
    steps = 20
    answer, *others = stock(LAW, steps)
    said = report(problem(LAW, name, steps), answer, others, 512)
    for errors, levels in ((said.ours, answer.levels), (said.stock["log_snr"], others[0].levels)):
        low, high = mean_interval(errors)
        assert low * 0.97 <= true_error(LAW, name, levels) <= high * 1.03
    assert said.best_stock == "log_snr"


def test_the_reference_of_a_report_is_refined_until_it_is_fine_enough_and_its_evaluations_are_counted() -> None:
    asked = problem(LAW, "unipc_3", 100)
    answer, *others = stock(LAW, 100)
    said = report(asked, answer, others, FEWEST)
    assert said.reference_error < min(said.ours.mean(), said.stock["log_snr"].mean())
    assert said.evaluations == asked.denoise.evaluations > FEWEST * (INTERVALS + 1 + 2 * 100)
    assert len(said.ours) == len(said.stock["log_snr"]) == FEWEST


def test_noises_follow_from_operations_and_stay_between_the_ends() -> None:
    assert report_noises(1, 1000, "cpu") == MOST
    assert report_noises(10**12, 1000, "cpu") == FEWEST
    assert report_noises(10**8, 100, "cpu") == OPERATIONS["cpu"] / 10**10
    assert report_noises(10**8, 200, "cpu") < report_noises(10**8, 200, "cuda")


@pytest.mark.parametrize(("wanted", "asked"), [(11, 20), (29, 20), (20, 20)])
def test_equivalent_evaluations_are_those_that_have_the_error(wanted: int, asked: int) -> None:
    def log_snr_of(steps: int) -> list[Candidate]:
        return stock(LAW, steps)[1:]

    one = problem(LAW, "dpmpp_2m", asked)
    references = one.references(Stream.REPORT, range(32), 128)
    other = problem(LAW, "dpmpp_2m", wanted)
    error = float(other.errors(log_snr_of(wanted), references).mean())
    assert equivalent_evaluations(one, error, log_snr_of, references) == pytest.approx(wanted, rel=0.02)


def test_equivalent_evaluations_end_where_nobody_tries() -> None:
    one = problem(LAW, "ddim", 8)
    references = one.references(Stream.REPORT, range(8), 128)
    assert equivalent_evaluations(one, 1e-12, lambda steps: stock(LAW, steps), references) > NFE_MOST / 1.3
    assert equivalent_evaluations(one, 1e-3, lambda _: [], references) is None
    heun = problem(LAW, "heun", 4)
    found = equivalent_evaluations(
        heun, float(heun.errors(stock(LAW, 4), references).mean(axis=1).min()), lambda n: stock(LAW, n), references
    )
    assert found == pytest.approx(7), "evaluations, not steps"
