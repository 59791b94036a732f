"""Chromium, as the machine has it: nothing is downloaded."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")

# Without the middle ones it looks for updates and signs in: there is no network here.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable():
    """Path of Chromium; without one the tests are skipped, and fail in continuous integration."""
    found = os.environ.get("AYS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = "no Chromium on this machine: install Debian's package `chromium`, or name one in AYS_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Tab:
    """A page of the browser and what its console said."""

    def __init__(self, page):
        self.page, self.complaints = page, []
        page.on("console", lambda message: message.type in {"error", "warning"} and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"{error}\n{error.stack}"))


def titles(page):
    """Titles of the rows, without the remarks that show under the pointer."""
    return page.locator("#steps .name").evaluate_all("all => all.map((each) => each.firstChild.textContent)")
