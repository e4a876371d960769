"""Pages in a real browser: Chromium (Debian: apt-get install chromium), driven by Playwright.

Importing this skips the tests of a module where either is missing.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on PATH (Debian: apt-get install chromium)", allow_module_level=True)

DESKTOP = {"width": 1280, "height": 900}


@contextmanager
def chromium() -> Iterator:
    """A browser without a window."""
    with playwright.sync_playwright() as driver:
        # Chromium's own sandbox cannot be set up by root or in a container.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visits(browser, file: Path) -> Iterator[Callable]:
    """What opens a page of a file; whatever that asks of a network or complains of ends the test."""
    asked, complaints, contexts = [], [], []

    def visit(viewport=DESKTOP, anchor="", **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.route(lambda url: not url.startswith(("file:", "data:")), lambda route: route.abort())
        page.goto(file.as_uri() + anchor)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert {url.partition("#")[0] for url in asked if not url.startswith("data:")} == {file.as_uri()}
    assert complaints == []
