"""How validation divides its budget: more noises where errors scatter, more refinement where they do not, never far over it."""

import pytest

from ays_client.contract import Effort
from worker.ays.imitation import imitation_evaluations
from worker.ays.solvers import SOLVERS
from worker.tasks.validation import budgeted, plan

EFFORTS = [Effort.STANDARD, Effort.MAX]
SIZES = {"grid": 64, "paths": 16, "shape": (1, 8, 8)}


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [2, 5, 8, 15, 32, 64])
@pytest.mark.parametrize("spread", [0.05, 0.6, 1.6, 20.0])
def test_a_plan_keeps_to_its_budget(effort: Effort, name: str, steps: int, spread: float) -> None:
    solver = SOLVERS[name]
    found = plan(effort, solver, steps, **SIZES, rungs=72, spread=spread)
    budget = budgeted(effort, steps) * 64 * 16
    # A heat for the whole ladder, and sixteen noises with those who run on, are the least it takes.
    heat, candidates = (8, 9) if solver.stochastic else (4, 6)
    least = (heat * 72 + 16 * candidates) * solver.evaluations(steps) + 16 * 2 * 64
    assert found.total <= max(budget, least + imitation_evaluations(found.imitated, grid=64, steps=steps))
    assert found.noises >= (8 if spread < 0.15 else 16)


@pytest.mark.parametrize("effort", EFFORTS)
def test_scattered_errors_ask_for_noises_and_the_others_get_the_refinement(effort: Effort) -> None:
    calm, wild = (plan(effort, SOLVERS["dpmpp_2m"], 8, **SIZES, spread=spread) for spread in (0.2, 2.0))
    assert calm.noises < wild.noises
    assert calm.iterations > wild.iterations


def test_calm_errors_leave_the_budget_to_refinement() -> None:
    """In thousands of dimensions every noise tells the same."""
    calm, usual = (plan(Effort.STANDARD, SOLVERS["dpmpp_2m"], 8, **SIZES, spread=spread) for spread in (0.1, 0.3))
    assert (calm.noises, usual.noises) == (8, 46)
    assert calm.iterations > 2 * usual.iterations
    calm, usual = (plan(Effort.STANDARD, SOLVERS["dpmpp_2m"], 5, **SIZES, spread=spread) for spread in (0.1, 0.3))
    assert (calm.starts, usual.starts) == (1, 2)


def test_an_unknown_spread_and_an_infinite_one_are_planned_alike() -> None:
    known = plan(Effort.STANDARD, SOLVERS["sddim"], 8, **SIZES, spread=1e9)
    assert known == plan(Effort.STANDARD, SOLVERS["sddim"], 8, **SIZES)


def test_an_sde_spends_the_same_budget_on_fewer_iterations() -> None:
    ode, sde = (plan(Effort.STANDARD, SOLVERS[name], 8, **SIZES) for name in ("dpmpp_2m", "dpmpp_2m_sde"))
    assert sde.iterations < ode.iterations
    assert 0.8 * ode.total < sde.total <= budgeted(Effort.STANDARD, 8) * 64 * 16


def test_more_steps_may_spend_what_as_many_samples_cost() -> None:
    few, some, many = (budgeted(Effort.STANDARD, steps) for steps in (2, 10, 20))
    assert (few, many) == (10, 2 * some)


def test_fine_solutions_are_imitated_for_an_ode_unless_they_fill_the_memory() -> None:
    asked = {"grid": 64, "paths": 16}
    images, videos = (4, 128, 128), (16, 21, 90, 160)
    assert plan(Effort.STANDARD, SOLVERS["dpmpp_2m"], 8, **asked, shape=images).imitated == 4
    assert plan(Effort.STANDARD, SOLVERS["dpmpp_2m"], 8, **asked, shape=videos).imitated == 0
    assert plan(Effort.STANDARD, SOLVERS["sddim"], 8, **asked, shape=images).imitated == 0
