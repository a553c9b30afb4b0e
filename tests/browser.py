"""A headless Chromium for tests that look at pages: no network use of its own, no profile left behind.

with chromium() as browser: browser.get(path.as_uri())
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@contextmanager
def chromium(width_px: int = 1300, height_px: int = 1000) -> Iterator[Any]:
    """A selenium driver of the machine's own Chromium; skips the test, with a hint, where there is none.

    Its console and its network events are logged: `browser.get_log("browser")` and `get_log("performance")`.
    """
    driver = shutil.which("chromedriver")
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None or driver is None:
        pytest.skip("no Chromium with chromedriver here; install both (Debian: chromium chromium-driver) to run this")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width_px},{height_px}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.set_capability("unhandledPromptBehavior", "ignore")
        browser = webdriver.Chrome(options=options, service=Service(executable_path=driver))
        try:
            yield browser
        finally:
            browser.quit()


def console_errors(browser: Any) -> list[str]:
    """Messages of level SEVERE since the last call, a refused load or script among them."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def requested_urls(browser: Any) -> list[str]:
    """What the page asked for since the last call, itself included, but `data:` and the browser's own first page."""
    import json

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("data:", "chrome:", "chrome-untrusted:"))]
