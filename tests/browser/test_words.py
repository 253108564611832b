"""The page in Chinese, as a Chinese browser gets it: no text is left in English, none is cut off in a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.window import window

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

# Texts in view with two English words or more and no Chinese, but for what the user wrote, names and things to type.
LEFT = """() => {
    const found = [], walk = document.createTreeWalker(document.querySelector("#lw_page"), NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.data.trim(), place = walk.currentNode.parentElement;
        if (!place.checkVisibility() || place.closest("code, pre, style, [translate=no]")) continue;
        if (/[A-Za-z]{3,}\\W+[a-z]{2,}/.test(text) && !/[\u4e00-\u9fff]/.test(text)) found.push(text);
    }
    return found;
}"""
TABS = """() => Array.from(document.querySelectorAll("[id^=lw_tab_][id$=-button]")).map((e) => e.id.slice(7, -7))"""
CUT = """() => Array.from(document.querySelectorAll("#lw_page button, #lw_page label > span, #lw_page .lw-html p"))
    .filter((e) => !e.closest(".lw-hidden") && e.checkVisibility())
    .filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 2)
    .filter((e) => ["hidden", "clip"].includes(getComputedStyle(e).overflowX))
    .map((e) => e.textContent.trim())"""


@pytest.fixture
def chinese(address: str, context: BrowserContext) -> Iterator[Page]:
    own = context.browser.new_context(viewport={"width": 1280, "height": 900}, locale="zh-CN")
    with window(own, address) as page:
        page.wait_for_selector("#lw_job .lw-job-line")
        yield page
    own.close()


def settled(page: Page, script: str) -> list[str]:
    """What ``script`` finds once the page has come to rest: what is drawn late is translated, and laid out, later."""
    found: list[str] = []
    for _ in range(40):
        page.wait_for_timeout(250)
        if not (found := page.evaluate(script)):
            break
    return found


def test_no_text_is_left_in_english_and_none_is_cut_off(chinese: Page, tmp_path: Path) -> None:
    chinese.get_by_role("tab", name="训练", exact=True).wait_for()
    names = chinese.evaluate(TABS)
    assert len(names) > 5
    for key in names:
        chinese.locator(f"#lw_tab_{key}-button").click()
        chinese.locator(f"#lw_tab_{key}").wait_for()
        assert settled(chinese, LEFT) == [], key
        chinese.set_viewport_size({"width": 900, "height": 900})
        assert settled(chinese, CUT) == [], key
        chinese.screenshot(path=tmp_path / f"{key}.png")
        chinese.set_viewport_size({"width": 1280, "height": 900})
    chinese.locator("[data-lw-language='']").click()
    chinese.get_by_role("tab", name="Train", exact=True).wait_for()  # and stays so, with this browser
