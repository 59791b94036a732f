"""The page of every kind of answer that the contract allows: what may be null is null in one of them."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from ays_client.contract import Error, Estimate, Klub, ProfileInfo, Provenance, Ratio, Solver, Source, Variant, identity
from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from tests.page.browser import titles
from tests.service.server import Server
from tests.service.worker import SIGMA_MAX, SIGMA_MIN, request, schedule, toy, work
from tests.store.addresses import addressed
from worker.ays.analytic import power_law_gaussian
from worker.ays.profile.profile import log_grid, measure_flow, merge
from worker.ays.solvers import SOLVERS
from worker.ays.solvers.fitted import printed_weights

LAW = power_law_gaussian(2, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX)
REASON = "on the profile's own paths the optimum has a larger error than this schedule"
HALF = Ratio(value=0.37, interval=(0.32, 0.43))


def estimate(mean):
    return Estimate(mean=mean, standard_error=mean / 50, interval=(0.95 * mean, 1.06 * mean), median=0.8 * mean)


def error(**fields):
    """A report in which the best stock schedule is one that the page cannot compute."""
    levels = schedule(nfe=fields.pop("nfe"), bend=3).sigmas
    stock = {"edm(top=10, bottom=0.05)": estimate(2.7), "edm": estimate(4.0), "log_snr": estimate(5.0)}
    known = {"ours": estimate(1.0), "stock": stock, "noises": 1024, "best_stock": "edm(top=10, bottom=0.05)", "best_stock_sigmas": levels}
    return Error(**known | {"ratio": HALF, "median_ratio": 0.3, "reference_error": 1e-3} | fields)


def provenance(**fields):
    return Provenance(code_version="0", **{"evaluations": 7800, "report_evaluations": 150_000, "profile_evaluations": 2048} | fields)


def answer(nfe, *, solver=Solver.DPMPP_2M, report=None, source=Source.OPTIMIZED, klub=None, **origin):
    plain = schedule(nfe=nfe, solver=solver)
    weights = None
    if solver is Solver.FITTED:
        rows = printed_weights(SOLVERS["unipc"], np.array(plain.sigmas))
        weights = [row[: step + 1].tolist() for step, row in enumerate(rows)]
    changes = {"error": report, "validated": report is not None, "source": source, "klub": klub, "weights": weights}
    return addressed(plain, **changes, provenance=provenance(**origin))


BOUND = Klub(ours=Estimate(mean=35.2, standard_error=0.4), stock={"edm": Estimate(mean=41.0, standard_error=0.5)})
FITTED = Solver.FITTED
STOCK = {"source": Source.STOCK, "candidate": "edm", "reason": REASON}
BEST = "EDM from 10 to 0.05"
STOCK_ROWS = ["EDM", "log-SNR"]

ANSWERS = {
    "with a detail": (
        answer(4, report=error(nfe=4), klub=BOUND, detail=1.8),
        r"63 % less error \[57, 68\]",
        ["Optimized", BEST, *STOCK_ROWS],
    ),
    "stock": (answer(5, report=error(nfe=5), **STOCK), "EDM is the best known", ["Stock: EDM", BEST, "log-SNR"]),
    "without a detail": (
        answer(6, report=error(nfe=6, ratio=Ratio(value=0.98, interval=(0.9, 1.1))), candidate="entropic", refined=True),
        r"as good as the best stock schedule, EDM from 10 to 0.05: its error times 0.98 \[0.9, 1.1\]",
        ["Optimized", BEST, *STOCK_ROWS],
    ),
    "without a comparison": (
        answer(
            7, report=error(nfe=7, ratio=None, median_ratio=None, best_stock=None, best_stock_sigmas=None, stock={}, reference_error=None)
        ),
        "an error of 1",
        ["Optimized", *STOCK_ROWS],
    ),
    "without a report": (answer(8, klub=BOUND, detail=1.8, effort="fast"), "not tried yet", ["Optimized", *STOCK_ROWS]),
    "stock without a report": (answer(9, **STOCK), "EDM is served", ["Stock: EDM", "log-SNR"]),
    "worse": (
        answer(11, report=error(nfe=11, ratio=Ratio(value=1.5, interval=(1.2, 1.9))), detail=0.0),
        r"50 % more error \[20, 90\]",
        ["Optimized", BEST, *STOCK_ROWS],
    ),
    "fitted": (
        answer(5, solver=FITTED, report=error(nfe=5), klub=BOUND, detail=1.8),
        r"63 % less error \[57, 68\]",
        ["Fitted", BEST, *STOCK_ROWS],
    ),
    "fitted to the profile": (answer(6, solver=FITTED, detail=1.8), "Fitted to the profile", ["Fitted", *STOCK_ROWS]),
    "fitted, stock": (answer(7, solver=FITTED, report=error(nfe=7), **STOCK), "EDM is the best known", ["Stock: EDM", BEST, "log-SNR"]),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    flow = merge([measure_flow(LAW.denoise, LAW.shape, log_grid(SIGMA_MAX, SIGMA_MIN, 24), range(8), seed=0)[0]])
    moments, errors = flow.moments.tolist(), flow.standard_errors.tolist()
    variant = Variant(model="toy")
    numbers = {"levels": flow.levels.tolist(), "paths": 8, "evaluations": 2048, "seconds": 1.0, "created_at": 1.0}
    info = ProfileInfo(
        id=identity(variant), variant=variant, fingerprint="f0", moments={"flow": moments}, standard_errors={"flow": errors}, **numbers
    )
    asked = request(nfe=4)
    with EmbeddedRedis(folder) as redis, Server(redis.url, folder / "server.log") as server:
        store = Store.open(redis.url)
        store.models.publish([toy()], source="here")
        store.jobs.submit(asked)
        schedules = [each for each, _, _ in ANSWERS.values()]
        assert store.results.commit(
            identity(asked), work(store, asked), profile=info, schedules=schedules, requested_schedule_id=schedules[0].id
        )
        store.close()
        yield server.url


@pytest.mark.parametrize("kind", ANSWERS)
def test_it_is_shown_whole(url, open_tab, kind):
    made, words, rows = ANSWERS[kind]
    page = open_tab(f"{url}/?model=toy&solver={made.solver.value}&nfe={made.nfe}").page
    expect(page.locator("#verdict")).to_contain_text(re.compile(words))
    expect(page.locator("#steps .name")).to_have_count(len(rows))
    assert titles(page) == rows
    expect(page.locator("#effort-note")).to_contain_text("2,048 for the profile, once for all schedules; 7,800 for the search")
    if made.provenance.reason:
        expect(page.locator("#reason")).to_contain_text("On the profile's own paths the optimum has a larger error")
    if made.klub:
        expect(page.locator("#error-bars tr", has_text="35.2 ± 0.4")).to_have_count(1)
    strips = page.locator("#weights .plus, #weights .minus")
    expect(strips).to_have_count(sum(len(row) for row in made.weights) if made.weights else 0)


def test_the_detail_of_a_fitted_answer_is_not_to_choose(url, open_tab):
    page = open_tab(f"{url}/?model=toy&solver=fitted&nfe=5&detail=0.5").page
    expect(page.get_by_role("slider", name="Detail")).to_be_disabled()
    expect(page.locator("#verdict")).to_contain_text("63 % less error")


def test_as_many_jobs_as_there_are_leave_connections_for_the_page(url, open_tab):
    """Browsers allow six to a host; every event stream keeps one."""
    page = open_tab("about:blank").page
    followed = []
    page.on("request", lambda sent: followed.append(sent.url) if sent.url.endswith("/events") else None)
    for nfe in range(20, 30):
        assert page.request.post(f"{url}/v1/jobs", data={"model": "toy", "nfe": nfe, "detail": 1.0}).ok
    page.goto(f"{url}/?model=toy&nfe=4")
    expect(page.locator("#jobs .badge.queued")).to_have_count(10)
    expect(page.locator("#verdict")).to_contain_text("63 % less error")
    assert len(set(followed)) <= 2
