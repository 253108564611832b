"""A running server on a temporary folder, and a page of headless Chromium that looks at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser.window import chromium, window

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from lib_lora.hosts.standalone.host import StandaloneHost
    from lib_lora.workbench import Workbench

FAILED = pytest.StashKey[bool]()  # of a test: whether it has just failed, so that its page is photographed


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two captioned pictures of 64 px, repeated so often that a click always comes before the end."""
    folder = tmp_path / "set" / "30_mira"
    folder.mkdir(parents=True)
    for i, colour in enumerate(("firebrick", "seagreen")):
        Image.new("RGB", (64, 64), colour).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"mira, 1girl, {colour} hat", encoding="utf-8")
    return folder.parent


@pytest.fixture
def workbench(tiny_host: StandaloneHost) -> Workbench:
    from lib_lora.workbench import Workbench

    return Workbench(tiny_host)


@pytest.fixture
def address(workbench: Workbench) -> Iterator[str]:
    """The tabs, served by this process."""
    from lib_lora.ui.app import serve

    # two that start at once would find the same port free
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    server = serve(workbench, port=7990 + 20 * worker)
    yield server.address
    server.close()


@pytest.fixture(scope="package")
def context() -> Iterator[BrowserContext]:
    """One browser for all tests: its cache keeps gradio's scripts, compiled."""
    with chromium() as browser:
        yield browser.new_context(viewport={"width": 1280, "height": 900})


@pytest.fixture
def page(address: str, context: BrowserContext, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The tabs in a browser window; fails the test when the page asks another machine for anything or has errors."""
    with window(context, address) as page:
        page.wait_for_selector("#lw_job .lw-job-line")
        yield page
        if request.node.stash.get(FAILED, False):
            page.screenshot(path=tmp_path / "failed.png", full_page=True)
            print(f"What the page showed: {tmp_path / 'failed.png'}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    item.stash[FAILED] = outcome.get_result().failed
