"""*Cancel* beside a bar, tab by tab: the bar goes, it is told once, nothing is left half, and the next click works."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from lib_lora.dataset.tagging.onnx_model import OnnxTagger, Tags
from tests.browser.desk import Desk
from tests.browser.loras import random_lora
from tests.dataset.tagging.models import write_model

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

LONG = 1000  # steps: a click comes before the end
IN_VIEW = """selector => {
    const box = document.querySelector(selector)?.getBoundingClientRect();
    const column = document.querySelector("#lw_ds_tools").getBoundingClientRect();
    return box && box.top >= column.top - 1 && box.top + 20 <= Math.min(column.bottom, innerHeight);
}"""


def test_what_runs_in_a_tab_is_cancelled_there(page: Page, workbench: Workbench, tmp_path: Path) -> None:
    random_lora(workbench, "mira", 1)
    desk = Desk(page, tmp_path / "pictures")
    desk.tab("Blocks")
    desk.sees_value("lw_blocks_lora", "mira")
    desk.open("Block preview: size, steps and sampler")
    sized(desk, "lw_blocks")
    desk.type("lw_blocks_prompt", "1girl")
    begin_and_cancel(desk, workbench, "blocks", "lw_blocks_preview", "lw_blocks_cancel", "lw_blocks_steps")
    desk.sees_picture("#lw_blocks_result img", 64)
    desk.tab("Epoch grid")
    desk.pick("lw_grid_run", "LoRA files, without a run")
    desk.open("More to compare")
    desk.pick("lw_grid_others", "mira")
    page.keyboard.press("Escape")
    desk.type("lw_grid_weights", "1")
    desk.type("lw_grid_prompts", "1girl")
    desk.open("Grid: size, steps and sampler")
    sized(desk, "lw_grid")
    desk.sees("#lw_grid_plan", "Will make 1 image of 64×64")
    begin_and_cancel(desk, workbench, "grid", "lw_grid_make", "lw_grid_cancel", "lw_grid_steps")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64)
    desk.tab("Blocks")
    desk.open("Tune by taste")
    desk.type("lw_blocks_steps", LONG)
    desk.click("lw_taste_start")
    desk.page.get_by_role("button", name="Cancel: Pictures to compare, mira").click()
    ended(desk, workbench, "blocks")


def test_how_far_a_tool_is_stays_in_view_and_so_does_what_it_proposes(
    page: Page, workbench: Workbench, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bar, *Cancel* and the proposal stood above the tools, out of view of whoever had pressed the button below."""
    said, waits = OnnxTagger.tag, Event()

    def slowly(self: OnnxTagger, pictures: Sequence[Image.Image]) -> list[Tags]:
        waits.wait(60)
        return said(self, pictures)

    monkeypatch.setattr(OnnxTagger, "tag", slowly)
    desk = Desk(page, tmp_path / "pictures")
    desk.type("lw_ds_folders", images)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "2 images")
    page.set_viewport_size({"width": 1280, "height": 500})
    desk.tool("tagging")
    desk.type("lw_ds_tagger_folder", write_model(tmp_path / "wd-tiny"))
    desk.pick("lw_ds_mode", "replace all tags")
    try:
        desk.click("lw_ds_tag")
        cancel = page.get_by_role("button", name="Cancel: Tag images")
        cancel.wait_for()
        page.wait_for_function(IN_VIEW, arg="#lw_ds_progress progress")
        assert page.evaluate(IN_VIEW, "#lw_ds_tag"), "the button is below the bar"
        cancel.click()
        waits.set()
        desk.sees("#lw_ds_progress", "Cancelled")
        desk.type("lw_ds_tagger_folder", write_model(tmp_path / "wd-other", first=True))  # what one said is kept
        waits.clear()
        desk.click("lw_ds_tag")
        page.wait_for_function(IN_VIEW, arg="#lw_ds_progress progress")
        time.sleep(6)  # longer than an answer takes
    finally:
        waits.set()
    page.wait_for_function(IN_VIEW, arg="#lw_ds_dry_run")
    page.set_viewport_size({"width": 1280, "height": 900})


def sized(desk: Desk, prefix: str) -> None:
    for name, value in (("width", 64), ("height", 64), ("steps", LONG)):
        desk.type(f"{prefix}_{name}", value)


def begin_and_cancel(desk: Desk, workbench: Workbench, tab: str, start: str, cancel: str, steps: str) -> None:
    desk.click(start)
    desk.sees(f"#lw_tab_{tab} .lw-job-line progress")
    desk.click(cancel)
    ended(desk, workbench, tab)
    desk.type(steps, 2)
    desk.click(start)


def ended(desk: Desk, workbench: Workbench, tab: str) -> None:
    """The bar is gone, the state is told once, above the tabs too, and no picture is there."""
    assert workbench.queue.wait(workbench.queue.jobs()[-1].id, 60).state == "cancelled"
    desk.sees(f"#lw_tab_{tab} [role=status]", "Cancelled")
    desk.sees("#lw_job", "cancelled")
    told = desk.page.locator(f"#lw_tab_{tab} [role=status]:visible", has_text="Cancelled")
    assert told.count() == 1, told.all_inner_texts()
    desk.page.locator(f"#lw_tab_{tab} .lw-job-line:visible").wait_for(state="detached")
    assert not list(workbench.host.paths.data.rglob("*.part"))
