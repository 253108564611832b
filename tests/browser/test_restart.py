"""After a restart one click goes on with the set that was open; an empty tab has one button that stands out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.desk import Desk
from tests.browser.window import window

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from lib_lora.workbench import Workbench

TABS = ("Dataset", "Train", "Epoch grid", "Blocks", "Merge", "Publish", "Runs")
STANDING_OUT = """() => Array.from(document.querySelectorAll("#lw_page button"))
    .filter((button) => button.getClientRects().length && !button.closest("#lw_ds_tools .lw-ds-tool"))
    .filter((button) => { const [r, g, b] = getComputedStyle(button).backgroundColor.match(/[\\d.]+/g).map(Number);
                          return r > 150 && g < 110 && b < 60; }).map((button) => button.innerText)"""


def test_the_set_that_was_open_is_opened_again(
    page: Page, workbench: Workbench, context: BrowserContext, images: Path, tmp_path: Path
) -> None:
    from lib_lora.ui.app import serve

    first = Desk(page, tmp_path / "first")
    first.tab("Dataset")
    first.type("lw_ds_folders", images)
    first.click("lw_ds_open")
    first.sees("#lw_ds_set", "2 images")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    again = serve(workbench, port=7700 + 20 * worker)  # as another start does, with pages of its own
    try:
        with window(context, again.address) as tab:
            desk = Desk(tab, tmp_path / "second")
            desk.sees("#lw_way li.lw-done", images.name)
            tab.get_by_role("button", name=f"Open {images.name} again").wait_for()
            assert tab.evaluate(STANDING_OUT) == [f"Open {images.name} again"]
            tab.get_by_role("button", name=f"Open {images.name} again").click()
            desk.sees("#lw_ds_set", "2 images")
            assert tab.evaluate(STANDING_OUT) == []  # Open no more: the tool that is open has its own
            desk.sees_value("lw_ds_folders", str(images))
            desk.sees_value("lw_ds_caption", "mira, 1girl, firebrick hat")
            desk.tab("Train")
            desk.sees_value("lw_train_data_dir", str(images))
    finally:
        again.close()


def test_one_button_stands_out_in_an_empty_tab(page: Page, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    seen = {}
    for tab in TABS:
        desk.tab(tab)
        page.wait_for_timeout(600)
        seen[tab] = page.evaluate(STANDING_OUT)
    assert {tab: len(buttons) for tab, buttons in seen.items()} == dict.fromkeys(TABS, 1), seen
