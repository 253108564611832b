"""*Cancel* beside a bar, tab by tab: the bar goes, it is told once, nothing is left half, and the next click works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.desk import Desk
from tests.browser.loras import random_lora

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

LONG = 1000  # steps: a click comes before the end


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
