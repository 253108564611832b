"""A window of headless Chromium that notes what goes wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
TIMEOUT = 180_000  # ms: on a busy machine the first page alone takes a minute


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium or Chrome."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "Chromium or Chrome is needed for this test; install the package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def window(context: BrowserContext, address: str, *, own: bool = True) -> Iterator[Page]:
    """A page showing ``address``; afterwards fails when it had an error or asked another machine for anything.

    Args:
        own: False for a web UI's page, whose gradio asks others for fonts and scripts; they are answered with nothing.
    """
    faults: list[str] = []
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.on("pageerror", lambda error: faults.append(str(error)))
    if own:
        page.on("request", lambda request: faults.append(request.url) if _foreign(request.url, address) else None)
    else:
        page.route(lambda url: _foreign(url, address), lambda route: route.fulfill(body=""))
    page.goto(address)
    yield page
    page.close()
    assert not faults, faults


def _foreign(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:"))
