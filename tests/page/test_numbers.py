"""What the page computes itself equals what the worker and the client compute."""

import numpy as np
import pytest

from ays_client.contract import Solver, Terminal
from ays_client.solvers import CARDS
from ays_client.stock import resample, stock
from worker.ays.analytic import power_law_gaussian
from worker.ays.choice import default_choice
from worker.ays.cost import StepCost, tabulate
from worker.ays.ladder import fineness
from worker.ays.optimize import polish, solve
from worker.ays.profile import log_grid, measure_flow, measure_forward, merge, refine_grid
from worker.ays.solvers import SDE, SOLVERS

LAW = power_law_gaussian(24, sigma_min=0.02, sigma_max=20.0)
LEVELS = log_grid(LAW.sigma_max, LAW.sigma_min, 24)


def denoise(x, sigma):
    return LAW.denoise(x, sigma)


@pytest.fixture(scope="module")
def profiles():
    flow, ends = measure_flow(denoise, LAW.shape, LEVELS, range(8), seed=0)
    return {"flow": merge([flow]), "forward": merge([measure_forward(denoise, ends, LEVELS, range(8), seed=0)])}


@pytest.fixture(scope="module")
def calls(service, chromium):
    """Calls an exported function of one of the page's modules in the browser."""
    page = chromium.new_page()
    page.goto(service)
    module = page.locator("script[type=module]").get_attribute("src").removesuffix("main.js")

    def call(name, body, *arguments):
        return page.evaluate(f"async ([path, args]) => {{ const m = await import(path); {body} }}", [f"{module}{name}", list(arguments)])

    yield call
    page.close()


def plain(profile):
    return {"levels": profile.levels.tolist(), "moments": profile.moments.tolist(), "measure": profile.measure}


KNOWN = ("euler", "ddim", "heun", "dpmpp_2m", "euler_ancestral", "ddpm", "sddim", "dpmpp_2m_sde")
"""Solvers whose costs the page computes."""

DIFFERENT = [SOLVERS[name] for name in ("ddim", "heun", "dpmpp_2m", "sddim", "dpmpp_2m_sde")]
"""The others of them are these under other names."""


def described(solver):
    return {"stochastic": solver.noise is SDE, "multistep": solver.multistep, "corrector": solver.name == "heun"}


def of(profiles, solver):
    return profiles[solver.measure]


def test_its_solvers_are_those_of_the_contract_and_of_the_worker(calls):
    table = calls("solvers.js", "return m.SOLVERS;")
    assert set(table) == {solver.value for solver in Solver}
    assert {name for name, solver in table.items() if solver["costs"]} == set(KNOWN)
    for name, solver in table.items():
        declared = SOLVERS[name]
        assert solver["title"]
        assert (solver["measure"], solver["evaluations"]) == (declared.measure, declared.evaluations_per_step)
        assert solver["kdiffusion"] == CARDS[Solver(name)].kdiffusion
        if solver["costs"]:
            assert {key: solver[key] for key in described(declared)} == described(declared)


@pytest.mark.parametrize("terminal", Terminal)
@pytest.mark.parametrize(("name", "function"), [("edm", "edm"), ("log_snr", "logSnr")])
def test_stock_schedules_are_the_clients(calls, name, function, terminal):
    span = {"sigmaMin": 0.02, "sigmaMax": 20.0, "toZero": terminal is Terminal.ZERO}
    drawn = calls("stock.js", f"return args[0].map((steps) => m.{function}(steps, args[1]));", [2, 5, 33], span)
    for steps, levels in zip([2, 5, 33], drawn, strict=True):
        np.testing.assert_allclose(levels, stock(name, steps, sigma_min=0.02, sigma_max=20.0, terminal=terminal), rtol=1e-12)
        again = calls("stock.js", "return m.resample(args[0], 17);", levels)
        np.testing.assert_allclose(again, resample(levels, 17), rtol=1e-12)


@pytest.mark.parametrize(
    "solver", [SOLVERS[name] for name in ("ddim", "heun", "dpmpp_2m", "sddim", "dpmpp_2m_sde")], ids=lambda solver: solver.name
)
@pytest.mark.parametrize("to_zero", [True, False])
def test_step_costs_are_the_workers_off_the_measured_grid_too(calls, profiles, solver, to_zero):
    profile = of(profiles, solver)
    fine = StepCost(refine_grid(profile, 5), solver, detail=1.3)
    knots = np.array([3, 17, 40, 61, 80, 114 if to_zero else 115])
    sigmas = [*fine.levels[knots].tolist(), *([0.0] if to_zero else [])]
    costs = calls("cost.js", "return m.stepCosts(...args);", plain(profile), described(solver), 1.3, sigmas)
    assert len(costs) == len(sigmas) - 1
    expected = fine.steps(knots[None], np.array([len(knots)]), to_zero=to_zero)[0, : len(costs)]
    expected[0] -= fine.start(knots[0])  # the page shows steps, not what it costs to start where they do
    np.testing.assert_allclose(costs, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "solver", [SOLVERS[name] for name in ("ddim", "heun", "dpmpp_2m", "sddim", "dpmpp_2m_sde")], ids=lambda solver: solver.name
)
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_the_schedule_of_a_detail_is_as_good_as_the_workers_from_the_top(calls, profiles, solver, terminal):
    """The page's start at the highest level; what they cost there, on the polish's grid, is what the worker's descent reaches."""
    profile, to_zero = of(profiles, solver), terminal == "zero"
    bound = default_choice(profile, solver).ratio_bound
    steps = [2, 5, 11, 30]
    body = "const o = new m.Optimizer(args[0], args[1], args[2]); return args[3].map((steps) => o.schedule(steps));"
    for detail in (0.0, 1.8):
        choice = {"toZero": to_zero, "detail": detail, "ratioBound": bound}
        found = calls("optimize.js", body, plain(profile), described(solver), choice, steps)
        factor = fineness(profile)
        fine = StepCost(refine_grid(profile, factor), solver, detail=detail)
        solution = solve(tabulate(StepCost(profile, solver, detail=detail)), steps_max=max(steps), to_zero=to_zero, ratio_bound=bound)
        for count, levels in zip(steps, found, strict=True):
            if not solution.possible(count, start=0):
                continue
            knots = polish(fine, solution.knots(count, start=0) * factor, to_zero=to_zero, ratio_bound=bound, keep_start=True)
            received = np.abs(np.log(fine.levels)[:, None] - np.log([level for level in levels if level > 0])).argmin(axis=0)
            assert len(levels) == count + 1
            assert received[0] == 0
            assert float(fine.total(received, to_zero=to_zero)) <= 1.005 * float(fine.total(knots, to_zero=to_zero))
