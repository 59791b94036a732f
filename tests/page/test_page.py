"""The page in a real browser, against a real stack: what a person does, in the order in which they do it.

The tests build on each other: the second one has a model measured. Pictures for a person to look at go to out/page/.
"""

import gzip
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from ays_store import Store
from ays_store.api_keys import Scope
from tests.page.browser import titles
from tests.store.waiting import until

OUT = Path(__file__).parents[2] / "out" / "page"
BUDGET = 150_000
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}

CONNECTION = re.compile(r"net::ERR_(CONNECTION|INCOMPLETE|EMPTY)")


def query(page):
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def levels(page, column=0):
    """Levels of a schedule in the table of numbers: ours is the first."""
    page.evaluate("document.querySelector('#steps-section details').open = true")
    return [float(text) for text in page.locator(f"#steps-table tbody td:nth-child({2 + 2 * column})").all_inner_texts() if text]


def check(page):
    """No violation of axe's rules in what is on the screen."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def check_width(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


@pytest.fixture(scope="module")
def api(stack):
    with httpx2.Client(base_url=stack.url, timeout=30) as client:
        yield client


@pytest.fixture
def measured(stack, api):
    """The mixture has a validated schedule for 8 evaluations; this test may run alone."""
    answered(api, {"model": "mixture", "nfe": 8})
    return f"{stack.url}/?model=mixture&solver=dpmpp_2m&nfe=8"


@pytest.fixture
def drawn(stack, api):
    """The bundled image model has samples of a schedule; its report would take minutes."""
    answered(api, {"model": "digits", "nfe": 8, "effort": "fast"})
    return f"{stack.url}/?model=digits&solver=dpmpp_2m&nfe=8"


def answered(api, asked):
    job = api.post("/v1/jobs", json=asked).json()
    until(lambda: api.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded", seconds=240, what="the job's success")


@pytest.mark.parametrize("size", SIZES)
def test_the_first_screen_says_what_this_is_and_what_to_do(stack, open_tab, size):
    width, height = SIZES[size]
    page = open_tab(f"{stack.url}/?model=gaussian", width=width, height=height).page
    expect(page.get_by_role("button", name="Measure and optimize")).to_be_enabled()
    for words in ("Which noise levels should they visit?", "Pick a model.", "Choose solver and budget.", "Copy the schedule"):
        expect(page.get_by_text(words)).to_be_in_viewport()
    check(page)
    check_width(page)
    page.screenshot(path=OUT / f"first-{size}.png")


def test_a_job_is_submitted_watched_and_answered(stack, open_tab, api):
    page = open_tab(f"{stack.url}/?model=mixture").page
    expect(page.get_by_text("mixture has not been measured yet.")).to_be_visible()
    page.get_by_role("button", name="Measure and optimize").click()
    model = page.locator("#models li", has_text="mixture").first
    expect(model.get_by_role("progressbar")).to_be_visible()
    expect(model.get_by_text("measuring", exact=True)).to_be_visible()
    expect(page.locator("#jobs .badge", has_text="running")).to_be_visible()
    # The page stays alive meanwhile.
    page.get_by_role("slider", name="Evaluations per sample").press("ArrowRight")
    expect(page.locator("#nfe-value")).to_have_text("9")
    page.get_by_role("slider", name="Evaluations per sample").press("ArrowLeft")
    expect(page.locator("#verdict")).to_contain_text(re.compile(r"% (less|more) error \[\d+, \d+\] than|as good as|is the best known"))
    expect(page.locator("#reason")).to_contain_text(re.compile(r"took part in no choice: .* On half of the samples at most \d+(\.\d+)? of"))
    expect(model.get_by_text("ready", exact=True)).to_be_visible()
    expect(page.locator("#jobs .badge.succeeded")).to_have_count(1)
    schedule = api.get("/v1/schedules?model=mixture&nfe=8").json()
    assert schedule["validated"]
    assert levels(page) == pytest.approx(schedule["sigmas"], rel=1e-4)
    error = schedule["error"]
    moved = error["best_stock"] not in {"edm", "log_snr"}
    if moved:
        assert levels(page, 1) == pytest.approx(error["best_stock_sigmas"], rel=1e-4)
    assert titles(page)[:1] + titles(page)[1 + moved :] == ["Optimized", "EDM", "log-SNR"]
    edm = api.get("/v1/schedules?model=mixture&nfe=8&source=stock").json()["sigmas"]
    assert levels(page, 1 + moved) == pytest.approx(edm, rel=1e-4)
    errors = page.locator("#steps .said").all_text_contents()
    stock = error["stock"]
    rivals = [stock[error["best_stock"]]] * moved + [stock.get("edm"), stock.get("log_snr")]
    for words, found in zip(errors, (error["ours"], *rivals), strict=True):
        if found is None:
            assert words == "not run", "a report has the best schedule and one or both of the known ones"
            continue
        said = [float(text) for text in re.findall(r"[\d.e+-]+", words.removeprefix("error"))]
        assert said == pytest.approx([found["mean"], *found["interval"]], rel=5e-3)
    expect(page.locator("#effort-note")).to_contain_text(f"{schedule['provenance']['report_evaluations']:,} for the report")
    bound = schedule["klub"]["ours"]["mean"]
    row = page.locator("#error-bars tr", has_text="Optimized").locator("td").last.inner_text()
    assert float(row.split()[0]) == pytest.approx(bound, rel=5e-3)


def test_samples_from_the_same_noise_are_shown(drawn, open_tab):
    page = open_tab(drawn).page
    grid = page.get_by_role("img", name=re.compile("8 samples of Handwritten digits"))
    expect(grid).to_have_count(3)
    pixels = (
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((value, n) => n % 4 == 0 && value > 200).length"
    )
    assert grid.first.evaluate(pixels) > 1000, "strokes were drawn"


def test_the_sliders_move_the_schedule_and_the_url_holds_it(measured, open_tab, api):
    page = open_tab(measured).page
    slider = page.get_by_role("slider", name="Evaluations per sample")
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(page.locator("#verdict")).to_contain_text(re.compile("not tried yet|is served"))
    assert levels(page) == pytest.approx(api.get("/v1/schedules?model=mixture&nfe=10").json()["sigmas"], rel=1e-4)
    page.get_by_role("slider", name="Detail").press("Home")
    expect(page.get_by_text("Computed in your browser for detail 0.")).to_be_visible()
    bound = levels(page)
    page.get_by_role("slider", name="Detail").press("End")
    expect(page.get_by_text("Computed in your browser for detail 3.")).to_be_visible()
    assert levels(page) != bound
    page.get_by_label("Last step ends at").select_option("sigma_min")
    expect(page.locator("#steps-table tbody tr")).to_have_count(11)
    until(lambda: levels(page)[-1] > 0, what="a schedule that ends at sigma_min")
    page.get_by_label("Solver").select_option("heun")
    expect(page.locator("#nfe-value")).to_have_text("9")
    held = {"model": "mixture", "solver": "heun", "nfe": "9", "terminal": "sigma_min", "detail": "3"}
    until(lambda: query(page) == held, what="the whole state in the URL")
    expect(page.locator("#steps-table tbody tr")).to_have_count(6)
    expect(page.get_by_text("Computed in your browser for detail 3.")).to_be_visible()
    shown = levels(page)
    again = open_tab(page.url).page
    expect(again.get_by_text("Computed in your browser for detail 3.")).to_be_visible()
    expect(again.locator("#steps-table tbody tr")).to_have_count(6)
    until(lambda: levels(again) == shown, what="the same schedule from the link alone")
    page.go_back()
    expect(page.get_by_label("Solver")).to_have_value("dpmpp_2m")


def test_what_is_copied_is_what_the_api_answers(drawn, open_tab, api):
    page = open_tab(drawn, permissions=["clipboard-read", "clipboard-write"]).page
    copied = {}
    tabs = ("Pipeline", "diffusers", "ComfyUI", "A1111, Forge", "SD.Next", "k-diffusion", "stable-diffusion.cpp", "curl", "Python client")
    expect(page.get_by_role("tab")).to_have_text(list(tabs))
    for name in tabs:
        before = page.locator("#code").inner_text()
        page.get_by_role("tab", name=name, exact=True).click()
        if name != "Pipeline":
            expect(page.locator("#code")).not_to_have_text(before)
        expect(page.locator("#code")).not_to_be_empty()
        page.get_by_role("button", name="Copy", exact=True).click()
        expect(page.locator("#copy-note")).to_have_text("Copied.")
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    lookup = "/v1/schedules?model=digits&nfe=8&solver=dpmpp_2m"
    assert copied["ComfyUI"] == api.get(f"{lookup}&format=comfyui").text
    assert copied["stable-diffusion.cpp"] == f"--sigmas {api.get(f'{lookup}&format=sdcpp').text}"
    assert copied["curl"] == f"curl -sS --fail-with-body '{str(api.base_url).rstrip('/')}{lookup}'"
    sigmas = api.get(lookup).json()["sigmas"]
    assert copied["SD.Next"] == api.get(f"{lookup}&format=sdnext").text
    for name in ("Pipeline", "diffusers", "A1111, Forge", "k-diffusion", "Python client"):
        compile(copied[name], name, "exec")
    torch = type("torch", (), {"tensor": staticmethod(list)})
    given = {}
    exec(next(line for line in copied["k-diffusion"].splitlines() if line.startswith("sigmas")), {"torch": torch}, given)
    assert given["sigmas"] == sigmas
    assert f"stock({len(sigmas) - 1}, device=device" in copied["diffusers"]
    until(lambda: query(page).get("format") == "python", what="the format in the URL")


def test_a_published_schedule_is_shown_and_copied_before_any_job(stack, open_tab, api):
    page = open_tab(f"{stack.url}/?model=stable-diffusion-1.5&nfe=10&format=comfyui").page
    expect(page.get_by_text("A published schedule.")).to_be_visible()
    assert titles(page) == ["EDM", "log-SNR", "Published"]
    lookup = "/v1/schedules?model=stable-diffusion-1.5&nfe=10&solver=dpmpp_2m&source=published"
    assert levels(page, 2) == pytest.approx(api.get(lookup).json()["sigmas"], rel=1e-4)
    expect(page.locator("#code")).to_have_text(api.get(f"{lookup}&format=comfyui").text)
    expect(page.get_by_role("button", name="Measure and optimize")).to_have_count(0)
    check(page)


def test_a_failed_job_says_why_and_a_running_one_can_be_stopped(stack, open_tab):
    page = open_tab(f"{stack.url}/?model=faulty").page
    page.get_by_role("button", name="Measure and optimize").click()
    expect(page.locator("#jobs .why")).to_contain_text(re.compile("received"))
    expect(page.locator("#reason")).to_contain_text("The last job failed")
    check(page)
    page.get_by_role("searchbox", name="Search models").fill("slo")
    expect(page.locator("#models li")).to_have_count(1)
    page.get_by_role("link", name="slow").first.click()
    page.get_by_role("button", name="Measure and optimize").click()
    expect(page.locator("#jobs .badge.running")).to_be_visible()
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.locator("#jobs .badge.canceled")).to_be_visible()


def test_it_goes_on_after_the_service_has_restarted(stack, open_tab, api):
    tab = open_tab(f"{stack.url}/?model=slow&nfe=5")
    page = tab.page
    page.get_by_role("button", name="Measure and optimize").click()
    expect(page.locator("#jobs .badge.running")).to_be_visible()
    stack.stop_service()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    stack.start_service()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#health")).to_have_text("ready, 1 worker")
    # The stream of events resumes: nothing else would show these words between two polls of the list.
    expect(page.locator("#action .progress")).to_contain_text("left")
    job = api.get("/v1/jobs?model=slow&state=running").json()["jobs"][0]
    api.post(f"/v1/jobs/{job['id']}/cancel")
    expect(page.locator("#jobs li", has_text="5 evaluations").locator(".badge.canceled")).to_be_visible()
    assert all(CONNECTION.search(text) for text in tab.complaints), tab.complaints
    tab.complaints.clear()


def test_an_api_key_is_asked_for_and_kept(measured, stack, guarded, open_tab):
    store = Store.open(stack.redis_url)
    record, key = store.api_keys.create("browser", Scope.SUBMIT)
    tab = open_tab(measured.replace(stack.url, guarded))
    page = tab.page
    dialog = page.get_by_role("dialog", name="This service asks for an API key")
    expect(dialog).to_be_visible()
    check(page)
    dialog.get_by_label("API key").fill("open sesame")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_be_visible()
    dialog.get_by_label("API key").fill(f" {key}\n")
    dialog.get_by_role("button", name="Use it").click()
    expect(page.locator("#steps svg")).to_be_visible()
    expect(dialog).to_be_hidden()
    page.reload()
    expect(page.locator("#steps svg")).to_be_visible()
    expect(dialog).to_be_hidden()
    store.api_keys.revoke(record.id)
    expect(dialog).to_be_visible()
    assert key not in page.url
    assert key not in page.content()
    store.close()
    assert all("401" in text for text in tab.complaints)
    tab.complaints.clear()


def test_the_documentation_runs_under_its_policy(guarded, open_tab):
    page = open_tab(f"{guarded}/docs").page
    expect(page.get_by_text("POST/v1/jobs", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Authorize").first.click()
    expect(page.get_by_text("An API key", exact=False).first).to_be_visible()


def test_the_keyboard_reaches_everything(measured, open_tab):
    page = open_tab(measured).page
    expect(page.locator("#steps svg")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the schedule")).to_be_focused()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 12)"))
    assert {"search", "solver", "nfe", "detail", "detail-auto", "terminal", "effort", "submit", "tab-apply", "copy"} <= reached
    page.locator("#tab-apply").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="diffusers")).to_be_focused()
    expect(page.get_by_role("tab", name="diffusers")).to_have_attribute("aria-selected", "true")


def test_the_first_load_is_light_and_stays_here(measured, open_tab):
    tab = open_tab("about:blank")
    page, bodies = tab.page, {}
    page.on("requestfinished", lambda request: bodies.update({request.url: request}))
    page.goto(measured, wait_until="networkidle")
    expect(page.locator("#heat canvas")).to_be_visible()
    sizes = {url: request.sizes()["responseBodySize"] for url, request in bodies.items() if not url.startswith("data:")}
    origin = measured.partition("/?")[0]
    assert all(url.startswith(origin) for url in sizes), "everything comes from the service"
    assert len(sizes) > 10
    assert sum(sizes.values()) < BUDGET, sizes
    for request in bodies.values():
        body = request.response().body()
        if len(body) > 8192 or "/page/" in request.url:
            assert request.sizes()["responseBodySize"] <= len(gzip.compress(body, 1)) + 64, f"{request.url} is compressed"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_for_a_person_and_no_barrier(drawn, open_tab, size, scheme):
    width, height = SIZES[size]
    page = open_tab(drawn, width=width, height=height, scheme=scheme).page
    for part in ("#steps svg", "#loss canvas", "#heat canvas", "#error-bars .bars", ".samples canvas >> nth=4"):
        expect(page.locator(part)).to_be_visible()
    expect(page.locator("#code")).to_contain_text("apply_schedule(pipe")
    check(page)
    check_width(page)
    page.screenshot(path=OUT / f"{size}-{scheme}.png")
    page.screenshot(path=OUT / f"{size}-{scheme}-whole.png", full_page=True)
