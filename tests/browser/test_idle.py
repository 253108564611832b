"""What an open page does while nobody touches it: it asks once a second for news, and draws nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.desk import Desk
from tests.browser.test_poll import HIDE

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECONDS = 10
SETTLED = 4000  # ms, until what was opened is shown and its pictures are there
TABS = ("Dataset", "Train", "Epoch grid", "Blocks", "Merge", "Publish", "Runs")
# counts from now on what changes in the page, and what is done later
COUNT = """() => {
    const count = (window.counted = { changes: 0, timers: 0, frames: 0, where: [] });
    new MutationObserver((found) => {
        count.changes += found.length;
        found.forEach((one) => count.where.push((one.target.id || one.target.className || one.target.nodeName) + ""));
    }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    const later = window.setTimeout, frame = window.requestAnimationFrame;
    window.setTimeout = (...given) => { count.timers += 1; return later(...given); };
    window.requestAnimationFrame = (...given) => { count.frames += 1; return frame(...given); };
}"""
START = "() => { Object.assign(window.counted, { changes: 0, timers: 0, frames: 0, where: [] }); }"


def test_an_idle_page_does_next_to_nothing(page: Page, images: Path, tmp_path: Path) -> None:
    """Two idle pages took half of a core and a third of one."""
    desk = Desk(page, tmp_path / "pictures")
    for tab in TABS:  # all that a tab builds when it is opened is there
        desk.tab(tab)
        page.wait_for_timeout(300)
    desk.tab("Dataset")
    desk.type("lw_ds_folders", images)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "2 images")
    page.wait_for_timeout(SETTLED)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url.split('?')[0]}"))
    page.evaluate(COUNT)
    page.wait_for_timeout(1000 * SECONDS)
    done = page.evaluate("counted")
    assert {request.rpartition("/")[0].split("/", 3)[-1] for request in asked} <= {"lora_workbench/news"}, asked
    assert 1 <= len(asked) <= SECONDS + 2
    assert done["changes"] <= 2, done["where"][:10]
    assert done["timers"] <= 3 * SECONDS and done["frames"] <= 2, done
    page.evaluate(HIDE, True)
    page.wait_for_timeout(1000)  # what was on its way
    asked.clear()
    page.evaluate(START)
    page.wait_for_timeout(1000 * SECONDS)
    done = page.evaluate("counted")
    assert not asked
    assert done["changes"] == 0 and done["timers"] <= SECONDS and done["frames"] == 0, done
    page.evaluate(HIDE, False)
