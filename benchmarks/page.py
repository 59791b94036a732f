"""How heavy and how quick the page is, in headless Chromium: `python -m benchmarks.page http://127.0.0.1:8000`.

Needs a running service that has measured the model (`--model`, digits) and Chromium (`AYS_CHROMIUM`, or on the path). Prints Markdown.
"""

import argparse
import shutil
import statistics
from collections.abc import Sequence
from os import environ

from playwright.sync_api import Page, sync_playwright

_MOVES = 30

_MOVE = """
async ([id, values]) => {
  const slider = document.getElementById(id);
  const taken = [];
  for (const value of values) {
    const before = document.querySelector("#steps svg");
    const start = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
    if (document.querySelector("#steps svg") !== before) taken.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return taken;
}
"""
"""Times from the event of a slider to the frame that has the new picture."""


def first_load(page: Page, url: str) -> dict[str, int]:
    """Compressed bytes of every answer that the first view takes."""
    sizes: dict[str, int] = {}
    page.on("requestfinished", lambda request: sizes.update({request.url: request.sizes()["responseBodySize"]}))
    page.goto(url, wait_until="networkidle")
    return {address: size for address, size in sizes.items() if not address.startswith("data:")}


def moved(page: Page, slider: str, values: Sequence[float]) -> list[float]:
    """Milliseconds from moving a slider to the picture, one per move that changed it."""
    taken: list[float] = page.evaluate(_MOVE, [slider, list(values)])
    return taken


def _said(taken: Sequence[float]) -> str:
    return f"{statistics.median(taken):.0f} ms | {sorted(taken)[int(0.95 * (len(taken) - 1))]:.0f} ms | {len(taken)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", default="digits")
    arguments = parser.parse_args()
    executable = environ.get("AYS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        start = f"{arguments.url}/?model={arguments.model}&nfe=8"
        sizes = first_load(page, start)
        print(f"first load: {sum(sizes.values()) / 1000:.0f} kB in {len(sizes)} answers, compressed\n")
        for address, size in sorted(sizes.items(), key=lambda pair: -pair[1])[:6]:
            print(f"- {size / 1000:.1f} kB {address.removeprefix(arguments.url)}")
        print("\n| slider, solver | median | 95 % | moves |\n|---|---|---|---|")
        solvers: list[str] = page.locator("#solver option").evaluate_all("options => options.map((option) => option.value)")
        for solver in solvers:
            page.goto(f"{start}&solver={solver}", wait_until="networkidle")
            odd = page.locator("#nfe").get_attribute("step") == "2"
            print(f"| evaluations, {solver} | {_said(moved(page, 'nfe', range(5, 65, 2 if odd else 1)))} |")
            page.goto(f"{start}&solver={solver}", wait_until="networkidle")
            print(f"| detail, {solver} | {_said(moved(page, 'detail', [n / 10 for n in range(_MOVES)]))} |")
        browser.close()


if __name__ == "__main__":
    main()
