"""Captions typed fast: each stands in its own picture's file, however late the program's answers come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("one", "two", "three", "four")
FIELD = "document.querySelector('#lw_ds_caption textarea').value"
LATE = """() => { const ask = window.fetch; window.late = 700; window.fetch = async (...what) => {
    const answer = await ask(...what);
    if (String(what[0]?.url || what[0]).includes("predict")) await new Promise((go) => setTimeout(go, window.late));
    return answer; } }"""


@pytest.fixture
def four(tmp_path: Path) -> Path:
    folder = tmp_path / "four"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (32, 32), (60 * number, 90, 120)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(name, encoding="utf-8")
    return folder


def test_what_is_typed_at_once_goes_where_it_was_seen(page: Page, four: Path, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    keys = page.keyboard

    def shown() -> str:
        return page.evaluate(FIELD)

    def click(number: int) -> None:
        page.locator("#lw_ds_pictures .lw-thumb").nth(number).click()

    def add(text: str) -> None:
        page.locator("#lw_ds_caption textarea").press("End")
        keys.type(text)

    desk.type("lw_ds_folders", four)
    desk.click("lw_ds_open")
    desk.sees_value("lw_ds_caption", "one")
    page.evaluate(LATE)
    click(1)
    assert shown() == "two"
    # at once, too: for a second the new caption stood under the old picture
    assert page.locator("#lw_ds_current figcaption").inner_text() == "1.png"
    assert page.locator("#lw_ds_current img").get_attribute("alt") == "1.png"
    add(" hats")
    keys.press("Alt+ArrowRight")
    assert shown() == "three"
    add(" more")
    click(0)
    assert shown() == "one"
    add(" hat")
    keys.press("Control+Enter")
    assert shown() == "two hats"  # before the program has it
    add(" more")
    keys.press("Alt+ArrowRight")
    assert shown() == "three more"
    page.evaluate("window.late = 0")
    for number, text in enumerate(("one hat", "two hats more", "three more", "four")):
        desk.saved(four / f"{number}.txt", text)
    desk.sees("#lw_ds_current figcaption", "2.png")
    assert shown() == "three more"
    page.wait_for_function("document.querySelector('#lw_ds_pictures .lw-chosen').title.startsWith('2.png')")
    add(" of it")
    page.reload()  # while the field has the focus, and nothing was sent
    page.wait_for_selector("#lw_ds_pictures .lw-thumb")
    page.wait_for_function(f"{FIELD} === 'three more of it'")
    desk.saved(four / "2.txt", "three more of it")
    assert [text.read_text(encoding="utf-8") for text in sorted(four.glob("*.txt"))][3] == "four"
