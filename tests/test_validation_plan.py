"""How validation divides its budget: more noises where errors scatter, more refinement where they do not, never far over it."""

import pytest

from ays_client.contract import Effort
from worker.ays.solvers import SOLVERS
from worker.validation import BUDGET, plan

EFFORTS = [Effort.STANDARD, Effort.MAX]
GRID, PATHS = 64, 16


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [2, 5, 8, 15, 32, 64])
@pytest.mark.parametrize("spread", [0.05, 0.6, 1.6, 20.0])
def test_a_plan_keeps_to_its_budget(effort: Effort, name: str, steps: int, spread: float) -> None:
    solver = SOLVERS[name]
    found = plan(effort, solver, steps, grid=GRID, paths=PATHS, spread=spread)
    budget = BUDGET[effort] * GRID * PATHS * (2 if solver.stochastic else 1)
    least = 16 * (2 * GRID + 6 * solver.evaluations(steps))  # sixteen noises and six candidates are the least it takes
    assert found.total <= max(budget, least)
    assert found.noises >= (8 if spread < 0.15 else 16)
    assert found.candidates >= 6


@pytest.mark.parametrize("effort", EFFORTS)
def test_scattered_errors_ask_for_noises_and_the_others_get_the_refinement(effort: Effort) -> None:
    calm, wild = (plan(effort, SOLVERS["dpmpp_2m"], 8, grid=GRID, paths=PATHS, spread=spread) for spread in (0.2, 2.0))
    assert calm.noises < wild.noises
    assert calm.iterations > wild.iterations


def test_calm_errors_leave_the_budget_to_refinement() -> None:
    """In thousands of dimensions every noise tells the same."""
    calm, usual = (plan(Effort.STANDARD, SOLVERS["dpmpp_2m"], 8, grid=GRID, paths=PATHS, spread=spread) for spread in (0.1, 0.3))
    assert (calm.noises, usual.noises) == (8, 16)
    assert calm.iterations > 2 * usual.iterations


def test_an_unknown_spread_and_an_infinite_one_are_planned_alike() -> None:
    known = plan(Effort.STANDARD, SOLVERS["sddim"], 8, grid=GRID, paths=PATHS, spread=1e9)
    assert known == plan(Effort.STANDARD, SOLVERS["sddim"], 8, grid=GRID, paths=PATHS)


def test_an_sde_spends_twice_the_budget_on_noises() -> None:
    ode, sde = (plan(Effort.STANDARD, SOLVERS[name], 8, grid=GRID, paths=PATHS) for name in ("dpmpp_2m", "dpmpp_2m_sde"))
    assert sde.noises > 1.5 * ode.noises
    assert sde.candidates == ode.candidates
