"""Generated pictures with the keyboard, and a slider: drawn, chosen over a reload, taken into the set, trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browser.desk import Desk
from tests.browser.loras import random_lora

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

SMALL = {"width": 64, "height": 64, "steps": 1}


class MadeDesk(Desk):
    """The tool in the words of its user."""

    def shows(self) -> None:
        self.tab("Dataset")
        self.tool("made")

    def asks_for(self, picture: str) -> None:
        """Wait until ``picture`` is the large one."""
        self.page.locator(f"#lw_made_shown [data-lw-pick='keep:{picture}'][data-lw-key='k']").wait_for()

    def press(self, key: str) -> None:
        self.page.evaluate("document.activeElement?.blur()")
        self.page.keyboard.press(key)


def test_pictures_by_a_lora_are_chosen_and_taken(workbench: Workbench, page: Page, tmp_path: Path) -> None:
    random_lora(workbench, "mira", 1)
    root = tmp_path / "set"
    root.mkdir()
    Image.new("RGB", (64, 64)).save(root / "own.png")
    desk = MadeDesk(page, tmp_path / "pictures")
    desk.tab("Dataset")
    desk.type("lw_ds_folders", root)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_summary", "1")
    desk.tool("made")
    desk.type("lw_made_loras", "mira:1")
    desk.type("lw_made_prompts", "1girl, (smile:1.2)")
    desk.type("lw_made_count", "3")
    desk.open("Made pictures: size, steps and sampler")
    for name, value in SMALL.items():
        desk.type(f"lw_made_{name}", value)
    desk.click("lw_made_start")
    desk.asks_for("0001")
    desk.sees("#lw_made_shown", "3 to look at")
    desk.press("k")
    desk.asks_for("0002")
    desk.press("l")
    desk.asks_for("0003")
    page.reload()
    desk.shows()
    desk.asks_for("0003")  # a reload loses nothing
    desk.page.locator("#lw_made_shown [data-lw-pick='undo']").click()
    desk.asks_for("0002")
    desk.press("K")
    desk.sees("#lw_made_shown", "2 kept")
    desk.photograph("made")
    desk.click("lw_made_take")
    desk.sees("#lw_ds_dry_run", "pictures added 2")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_undo", "Undo: Made pictures")
    folder = root / "made pictures"
    assert sorted(path.name for path in folder.glob("*.txt")) == ["pictures-0001.txt", "pictures-0002.txt"]
    assert (folder / "pictures-0001.txt").read_text(encoding="utf-8") == "1girl, smile"
    desk.click("lw_ds_undo")
    desk.sees("#lw_ds_applied", "Taken back")
    assert not folder.exists()


def test_a_slider_is_trained_from_its_form(workbench: Workbench, page: Page, tmp_path: Path) -> None:
    desk = MadeDesk(page, tmp_path / "pictures")
    desk.tab("Train")
    desk.open("Slider: two prompts, or before and after")
    desk.type("lw_slider_more_of", "smile")
    desk.click("lw_slider_start")
    desk.sees("#lw_slider_message", "At least one line is needed")
    values = {"name": "smile", "less_of": "frown", "prompts": "1girl\n1boy", "steps": "2", "count": "2"}
    for name, value in values.items():
        desk.type(f"lw_slider_{name}", value)
    desk.open("Slider pictures: size, steps and sampler")
    for name in ("width", "height"):
        desk.type(f"lw_slider_draw_{name}", 64)
    desk.click("lw_slider_start")
    desk.says("lw_slider_progress", "smile is trained")
    job = workbench.queue.jobs()[-1]
    assert workbench.queue.wait(job.id, 120).state == "done"
    assert (workbench.host.paths.loras / "smile.safetensors").exists()
