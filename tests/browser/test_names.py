"""Long file names in narrow places: their endings stay whole, and the name itself is seen, not its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = "a_name_that_has_no_blank_where_a_line_could_end_01"
# widths (px) of the element at which ".png" is on two lines, or none
BROKEN = """(selector) => {
    const block = document.querySelector(selector), walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    const letters = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode())
        for (let i = 0; i < node.data.length; i++) letters.push([node, i]);
    const start = letters.map(([node, i]) => node.data[i]).join("").indexOf(".png");
    if (start < 0) return [0];
    const range = document.createRange();
    const top = ([node, i]) => { range.setStart(node, i); range.setEnd(node, i + 1);
                                 return Math.round(range.getBoundingClientRect().top); };
    const found = [];
    for (let width = 40; width <= 420; width += 1) {
        block.style.width = `${width}px`;
        if (new Set(letters.slice(start, start + 4).map(top)).size > 1) found.push(width);
    }
    block.style.width = "";
    return found;
}"""
CUT = "(which) => Array.from(document.querySelectorAll(which)).filter((e) => e.scrollWidth > e.clientWidth).length"


def test_names_are_read_in_narrow_places(page: Page, tmp_path: Path) -> None:
    """A file's name stood there as "01.pn" above "g"."""
    folder = tmp_path / "set"
    for name in ("5_a folder with a long name/composite-00001", "5_other/composite-00002"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (64, 64), "teal").save(path)
        path.rename(path.with_name(f"{LONG}.png")) if "other" in name else None
    desk = Desk(page, tmp_path / "pictures")
    desk.tab("Dataset")
    desk.type("lw_ds_folders", folder)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "2 images")
    page.locator("#lw_ds_pictures .lw-thumb", has_text=LONG).click()
    desk.sees("#lw_ds_current figcaption", LONG)
    assert page.evaluate(BROKEN, "#lw_ds_current figcaption") == []
    first = "#lw_ds_pictures .lw-thumb:first-child .lw-name"
    assert page.evaluate(CUT, f"{first} i") == 1 and page.evaluate(CUT, f"{first} b") == 0
    desk.tool("tags")
    desk.type("lw_ds_tag_tags", "mira")
    desk.click("lw_ds_tag_plan")
    desk.sees(".lw-ds-examples b", LONG)
    assert page.evaluate(BROKEN, ".lw-ds-examples li:last-child") == []
