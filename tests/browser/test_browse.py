"""Browse: pictures beside folders, and one button that stands out while it is open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

ORANGE = """() => Array.from(document.querySelectorAll("#lw_tab_dataset button"))
    .filter((button) => button.offsetParent && getComputedStyle(button).backgroundColor === "rgb(185, 74, 6)")
    .map((button) => button.innerText)"""


def test_browse(page: Page, images: Path, tmp_path: Path) -> None:
    (images / "empty").mkdir()
    desk = Desk(page, tmp_path / "pictures")
    assert len(page.evaluate(ORANGE)) == 1
    desk.type("lw_ds_folders", images)
    desk.click("lw_ds_browse")
    listed = page.get_by_role("listitem")
    shown = listed.filter(has=page.get_by_role("button", name="30_mira")).locator("img")
    shown.wait_for()
    page.wait_for_function("document.querySelector('.lw-browse li img').naturalWidth === 64")
    listed.filter(has=page.get_by_role("button", name="empty")).locator("img").wait_for(state="detached")
    page.mouse.move(0, 0)
    page.wait_for_function(f"({ORANGE})().join() === 'Use this folder'")
    desk.photograph("browse")
