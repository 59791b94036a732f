"""What the page computes itself equals what the worker and the client compute."""

import numpy as np
import pytest

from ays_client.contract import Solver, Terminal
from ays_client.solvers import CARDS
from ays_client.stock import resample, stock
from worker.ays.analytic import power_law_gaussian
from worker.ays.profile.profile import log_grid, measure_flow, measure_forward, merge, refine_grid
from worker.ays.search.candidates import fineness
from worker.ays.search.weight import ErrorWeight, default_weight
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import HISTORY, printed_weights
from worker.tasks.table import Optimizer

LAW = power_law_gaussian(24, sigma_min=0.02, sigma_max=20.0)
LEVELS = log_grid(LAW.sigma_max, LAW.sigma_min, 24)


def denoise(x, sigma):
    return LAW.denoise(x, sigma)


@pytest.fixture(scope="module")
def profiles():
    flow, paths = measure_flow(denoise, LAW.shape, LEVELS, range(8), seed=0)
    return {"flow": merge([flow]), "forward": merge([measure_forward(denoise, paths.ends, LEVELS, range(8), seed=0)])}


@pytest.fixture(scope="module")
def calls(service, chromium):
    """Calls an exported function of one of the page's modules in the browser."""
    page = chromium.new_page()
    page.goto(service)
    module = page.locator("script[type=module]").get_attribute("src").removesuffix("main.js")

    def call(name, body, *arguments):
        modules = "const [m, { SOLVERS }] = await Promise.all([name, 'solvers.js'].map((file) => import(folder + file)));"
        return page.evaluate(f"async ([folder, name, args]) => {{ {modules} {body} }}", [module, name, list(arguments)])

    yield call
    page.close()


def plain(profile):
    origin = None if profile.mean_moments is None else profile.mean_moments.tolist()
    return {"levels": profile.levels.tolist(), "moments": profile.moments.tolist(), "origin": origin, "measure": profile.measure}


DIFFERENT = [solver for name, solver in SOLVERS.items() if name not in {"euler", "ddpm", "euler_ancestral", "fitted"}]
"""The others are these under other names; the fitted solver has no cost but with a schedule's weights."""

ALL = pytest.mark.parametrize("solver", DIFFERENT, ids=lambda solver: solver.name)

KNEE = 1.7


def test_its_solvers_are_those_of_the_contract_and_of_the_worker(calls):
    table = calls("solvers.js", "return m.SOLVERS;")
    assert set(table) == {solver.value for solver in Solver}
    for name, solver in table.items():
        declared = SOLVERS[name]
        assert solver["title"]
        assert solver["kdiffusion"] == CARDS[Solver(name)].kdiffusion
        same = ("measure", "history", "combines", "tapers", "fitted")
        assert {key: solver[key] for key in same} == {key: getattr(declared, key) for key in same}
        assert (solver["evaluations"], solver["noise"]["name"]) == (declared.evaluations_per_step, declared.noise.name)


@pytest.mark.parametrize("terminal", Terminal)
@pytest.mark.parametrize(("name", "function"), [("edm", "edm"), ("log_snr", "logSnr")])
def test_stock_schedules_are_the_clients(calls, name, function, terminal):
    span = {"sigmaMin": 0.02, "sigmaMax": 20.0, "toZero": terminal is Terminal.ZERO}
    drawn = calls("stock.js", f"return args[0].map((steps) => m.{function}(steps, args[1]));", [2, 5, 33], span)
    for steps, levels in zip([2, 5, 33], drawn, strict=True):
        np.testing.assert_allclose(levels, stock(name, steps, sigma_min=0.02, sigma_max=20.0, terminal=terminal), rtol=1e-12)
        again = calls("stock.js", "return m.resample(args[0], 17);", levels)
        np.testing.assert_allclose(again, resample(levels, 17), rtol=1e-12)


@ALL
@pytest.mark.parametrize("to_zero", [True, False])
def test_step_costs_are_the_workers(calls, profiles, solver, to_zero):
    profile = profiles[solver.measure]
    fine = ErrorWeight(1.3, KNEE).cost(refine_grid(profile, fineness(profile)), solver)
    last = len(fine.levels) - 1
    knots = np.array([7, 40, 61, 110, 171, 202, last - 3 if to_zero else last])
    sigmas = [*fine.levels[knots].tolist(), *([0.0] if to_zero else [])]
    body = "return m.stepCosts(args[0], SOLVERS[args[1]], args[2], args[3]);"
    costs = calls("cost.js", body, plain(profile), solver.name, {"detail": 1.3, "knee": KNEE}, sigmas)
    assert len(costs["steps"]) == len(sigmas) - 1
    expected = fine.steps(knots[None], np.array([len(knots)]), to_zero=to_zero)[0, : len(sigmas) - 1]
    start = float(fine.start(knots[0]))
    assert costs["start"] == pytest.approx(start, rel=1e-9)
    # A small step's cost is a difference of much larger terms.
    atol = 1e-14 * expected.max()
    np.testing.assert_allclose(costs["steps"], expected - np.eye(len(expected))[0] * start, rtol=1e-9, atol=atol)


def test_between_the_levels_of_the_grid_costs_are_those_of_a_finer_one(calls, profiles):
    """As fine a grid as it takes to have the schedule's levels on it: for a kernel that is a power of sigma nothing else changes."""
    solver, profile = SOLVERS["dpmpp_2m"], profiles["flow"]
    fine = ErrorWeight(1.3, KNEE).cost(refine_grid(profile, 7 * fineness(profile)), solver)
    knots = np.array([11, 230, 611, 1101, 1571])
    body = "return m.stepCosts(args[0], SOLVERS[args[1]], args[2], args[3]);"
    sigmas = [*fine.levels[knots].tolist(), 0.0]
    costs = calls("cost.js", body, plain(profile), solver.name, {"detail": 1.3, "knee": KNEE}, sigmas)
    assert costs["start"] + sum(costs["steps"]) == pytest.approx(float(fine.total(knots, to_zero=True)), rel=1e-9)


@pytest.mark.parametrize("to_zero", [True, False])
@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m"])
def test_with_a_printed_methods_weights_the_fitted_costs_are_that_methods(calls, profiles, name, to_zero):
    levels = np.append(LEVELS[[1, 4, 9, 14, 20, 23]], [0.0] if to_zero else [])
    weights = printed_weights(SOLVERS[name], levels).tolist()
    choice = {"detail": 1.3, "knee": KNEE}
    body = "return m.stepCosts(args[0], SOLVERS[args[1]], args[2], args[3], args[4]);"
    printed = calls("cost.js", body, plain(profiles["flow"]), name, choice, levels.tolist(), None)
    fitted = calls("cost.js", body, plain(profiles["flow"]), "fitted", choice, levels.tolist(), weights)
    np.testing.assert_allclose(fitted["steps"], printed["steps"], rtol=1e-9, atol=1e-14 * max(printed["steps"]))
    assert fitted["start"] == printed["start"]


def test_a_fitted_last_step_costs_what_its_combination_misses(calls, profiles):
    """Of the step to level 0 with any weights w the cost is a moment of K: `E || D_last - sum_m w_m D_m ||^2`, weighted."""
    profile, knots, own = profiles["flow"], [6, 12, 21], np.array([1.4, -0.5, 0.1])
    weights = np.zeros((3, HISTORY))
    weights[:2, 0], weights[2, :3] = 1, own
    body = "return m.stepCosts(args[0], SOLVERS.fitted, args[1], args[2], args[3]);"
    levels = [*profile.levels[knots].tolist(), 0.0]
    found = calls("cost.js", body, plain(profile), {"detail": 1.8}, levels, weights.tolist())["steps"][-1]
    nodes, signs = [len(profile.levels) - 1, *knots[::-1]], np.array([1, *-own])
    moment = signs @ profile.moments[np.ix_(nodes, nodes)] @ signs
    assert found == pytest.approx(profile.levels[-1] ** -0.2 * moment, rel=1e-9)


@ALL
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_a_schedule_for_a_detail_is_the_workers(calls, profiles, solver, terminal):
    profile, steps = profiles[solver.measure], [1, 2, 3, 5, 8, 13, 30]
    bound = default_weight(profile, solver).ratio_bound
    body = "const o = new m.Optimizer(args[0], SOLVERS[args[1]], args[2]); return args[3].map((steps) => o.schedule(steps));"
    for weight in (ErrorWeight(0.0, ratio_bound=bound), ErrorWeight(2.1, KNEE, bound)):
        asked = {"toZero": terminal == "zero", "detail": weight.exponent, "ratioBound": bound}
        asked |= {} if np.isinf(weight.cutoff) else {"knee": weight.cutoff}
        found = calls("optimize.js", body, plain(profile), solver.name, asked, steps)
        expected = Optimizer(profile, solver, terminal, weight, steps_max=max(steps)).all_levels(steps)
        for levels, own in zip(found, expected, strict=True):
            np.testing.assert_allclose(levels, own, rtol=1e-9)


@pytest.mark.parametrize("measure", ["flow", "forward"])
def test_the_default_weight_is_the_workers(calls, profiles, measure):
    for name, solver in SOLVERS.items():
        if solver.measure == measure:
            weight = default_weight(profiles[measure], solver)
            found = calls(
                "choice.js",
                "const c = m.defaultChoice(args[0], SOLVERS[args[1]]); return { ...c, knee: String(c.knee) };",
                plain(profiles[measure]),
                name,
            )
            assert (found["detail"], float(found["knee"].replace("Infinity", "inf"))) == (weight.exponent, weight.cutoff)
            assert calls("choice.js", "return m.ratioBound(SOLVERS[args[0]]);", name) == weight.ratio_bound
