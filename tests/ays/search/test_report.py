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
from worker.ays.search.report import FEWEST, INTERVALS, MOST, OPERATIONS, report, report_noises
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
