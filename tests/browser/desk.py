"""The page in the words of its user, for the tests of all tabs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lib_lora.training.config import settings
from lib_lora.ui.form import group_title

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Desk:
    """The page in the words of its user."""

    def __init__(self, page: Page, pictures: Path):
        self.page = page
        self.pictures = pictures
        self.clicks = 0  # of those that the way needs, see `go`
        pictures.mkdir()

    def tab(self, name: str) -> None:
        old = self.page.locator(".tab-nav > button").get_by_text(name, exact=True)  # gradio 3 gives them no role
        self.page.get_by_role("tab", name=name, exact=True).or_(old).first.click()

    def type(self, elem_id: str, text: object) -> None:
        field = self.page.locator(f"#{elem_id} textarea, #{elem_id} input").first
        field.wait_for()
        self.page.evaluate(TWO_FRAMES)  # gradio 6 shows what was just opened before it gives it its values
        field.fill(str(text))
        field.blur()

    def pick(self, elem_id: str, option: str, beside: str = "") -> None:
        """Choose ``option``; where a new one, ``beside``, is awaited, not before: it moves the others when it comes."""
        self.page.locator(f"#{elem_id} input").click()
        if beside:
            self._option(beside).wait_for()
        self._option(option).click()

    def _option(self, name: str) -> Locator:
        old = self.page.locator(f"[data-testid=dropdown-option][aria-label='{name}']")  # gradio 3 calls them buttons
        return self.page.get_by_role("option", name=name, exact=True).or_(old).first

    def click(self, elem_id: str) -> None:
        self.page.locator(f"#{elem_id}").click()

    def go(self, selector: str) -> None:
        """A click that nobody who goes the whole way is spared."""
        self.clicks += 1
        self.page.locator(selector).first.click()

    def drop(self, path: Path, tab: str = "lw_tab_dataset") -> None:
        """Drop a file or folder from outside on a tab, as a file manager does."""
        self.page.locator(f"#{tab}").wait_for()
        self.page.evaluate("scrollTo(0, 0)")
        self.page.evaluate(TWO_FRAMES)
        hand, box = self.page.context.new_cdp_session(self.page), self.page.locator(f"#{tab}").bounding_box()
        assert box is not None
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 200}
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            hand.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    def read(self, elem_id: str) -> str:
        return self.page.locator(f"#{elem_id} textarea, #{elem_id} input").first.input_value()

    def open(self, accordion: str) -> None:
        old = self.page.locator(".label-wrap", has_text=accordion)
        self.page.get_by_role("button", name=accordion).or_(old).first.click()

    def tool(self, key: str) -> None:
        """Open a tool of the Dataset tab, which closes the others."""
        self.page.locator(f"#lw_ds_tool_{key} .label-wrap").first.click()

    def open_settings(self, *names: str) -> None:
        """Show the groups of *More settings* that these are in."""
        self.open("More settings")
        for group in dict.fromkeys(group_title(settings()[name].metadata["group"]) for name in names):
            self.open(group)

    def sees_value(self, elem_id: str, text: str) -> None:
        """Wait until a text field or dropdown shows ``text``."""
        found = f"Array.from(document.querySelectorAll('#{elem_id} input, #{elem_id} textarea'))"
        self.page.wait_for_function(f"(text) => {found}.some((field) => field.value === text)", arg=text)

    def sees_picture(self, selector: str, side: int, count: int = 1) -> None:
        """Wait until ``count`` pictures of that width are loaded."""
        found = f"Array.from(document.querySelectorAll('{selector}')).filter((i) => i.naturalWidth === {side})"
        self.page.wait_for_function(f"{found}.length >= {count}")

    def sees(self, selector: str, text: str = "") -> None:
        self.page.locator(selector).filter(has_text=text).first.wait_for()

    def saved(self, file: Path, text: str) -> None:
        """Wait until ``file`` holds ``text``: a page shows the next picture before the last caption is saved."""
        for _ in range(600):
            if file.read_text(encoding="utf-8") == text:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{file} has {file.read_text(encoding='utf-8')!r}, not {text!r}")

    def says(self, elem_id: str, text: str) -> None:
        self.sees(f"#{elem_id} [role=status]", text)

    def photograph(self, name: str) -> None:
        path = self.pictures / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 5000
