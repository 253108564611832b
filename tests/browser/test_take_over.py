"""A set that two pages have open is taken over by a click, and what was typed in the other page is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.desk import Desk
from tests.browser.window import window

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


def open_set(desk: Desk, folder: Path) -> None:
    desk.tab("Dataset")
    desk.type("lw_ds_folders", folder)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "2 images")
    desk.sees_value("lw_ds_caption", "mira, 1girl, firebrick hat")


def test_a_page_takes_a_set_over(
    page: Page, address: str, context: BrowserContext, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib_lora.dataset.collection.hold.AFTER", 0.2)
    caption = images / "30_mira" / "0.txt"
    first = Desk(page, tmp_path / "first")
    open_set(first, images)
    with window(context, address) as other:
        other.wait_for_selector("#lw_job .lw-job-line")
        second = Desk(other, tmp_path / "second")
        open_set(second, images)
        for desk in (first, second):
            desk.sees("#lw_ds_hold", "also open elsewhere")
        second.click("lw_ds_take_over")
        second.says("lw_ds_taken_message", "Taken over")
        second.page.locator("#lw_ds_take_over").wait_for(state="hidden")
        first.sees("#lw_ds_hold", "taken over by another page")
        first.type("lw_ds_caption", "mira, 1girl, firebrick hat, smile")
        first.sees("#lw_ds_caption_message", "taken over by another page")
        assert caption.read_text(encoding="utf-8") == "mira, 1girl, firebrick hat"
        first.click("lw_ds_open")  # as it says; what was typed is kept
        first.page.locator("#lw_ds_hold", has_text="taken over").wait_for(state="detached")
        first.sees_value("lw_ds_caption", "mira, 1girl, firebrick hat, smile")
    first.saved(caption, "mira, 1girl, firebrick hat, smile")
