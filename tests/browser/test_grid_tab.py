"""The epoch grid by clicking: LoRA files by words of the prompt, stars, a choice, its export, and a cancel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib_lora.adapters.file import read_lora
from tests.browser.desk import Desk
from tests.browser.loras import random_lora

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench


@pytest.fixture
def loras(workbench: Workbench) -> list[Path]:
    return [random_lora(workbench, name, seed) for seed, name in enumerate(("luna", "mira"))]


def test_grid(loras: list[Path], page: Page, workbench: Workbench, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    desk.tab("Epoch grid")
    desk.sees("#lw_grid_table", "There is no run yet")
    desk.pick("lw_grid_run", "LoRA files, without a run")
    ask_for_files_by_words(desk)
    desk.click("lw_grid_make")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64, 4)
    star_and_choose(desk)
    keys_and_size(desk)
    desk.photograph("grid-files")
    export(desk, workbench)
    publish(desk, workbench)
    cancel(desk, workbench)


def ask_for_files_by_words(desk: Desk) -> None:
    desk.open("More to compare")
    for name in ("luna", "mira"):
        desk.pick("lw_grid_others", name)
    desk.page.keyboard.press("Escape")
    desk.type("lw_grid_weights", "1")
    desk.type("lw_grid_prompts", "girl, red hat, smile")
    desk.type("lw_grid_replace", "blue hat, cap")
    desk.sees("#lw_grid_plan", "'blue hat' is not in")
    desk.type("lw_grid_replace", "red hat, cap")
    desk.pick("lw_grid_rows", "Prompt")
    desk.open("Grid: size, steps and sampler")
    for name, value in (("width", 64), ("height", 64), ("steps", 1)):
        desk.type(f"lw_grid_{name}", value)
    desk.sees("#lw_grid_plan", "Will make 4 images of 64×64")


def star_and_choose(desk: Desk) -> None:
    desk.sees("#lw_grid_table th", "red hat")
    desk.page.locator('[data-lw-star="luna:1.0:"]').first.click()
    desk.sees("#lw_grid_chosen", "Starred")
    desk.page.locator('[data-lw-cell="mira:1.0:"]').first.click()
    desk.sees("#lw_grid_chosen", "Chosen: mira at 1")
    desk.page.reload()
    desk.tab("Epoch grid")
    desk.sees("#lw_grid_chosen", "Chosen: mira at 1")
    desk.sees('[data-lw-star="luna:1.0:"][aria-pressed="true"]')


def keys_and_size(desk: Desk) -> None:
    cell, other = (desk.page.locator(f'[data-lw-cell="{name}:1.0:"]').first for name in ("mira", "luna"))
    cell.focus()
    desk.page.keyboard.press("ArrowLeft")
    desk.page.wait_for_function("(cell) => cell === document.activeElement", arg=other.element_handle())
    own = other.locator("img").get_attribute("src")
    desk.page.keyboard.down("b")
    assert other.locator("img").evaluate("(image) => image.src") == cell.locator("img").evaluate("(image) => image.src")
    desk.page.keyboard.up("b")
    assert other.locator("img").get_attribute("src").endswith(own)
    desk.page.locator("[data-lw-cell-size]").fill("248")
    assert cell.evaluate("(cell) => cell.getBoundingClientRect().width") == 248


def export(desk: Desk, workbench: Workbench) -> None:
    desk.sees_value("lw_grid_name", "mira")
    desk.click("lw_grid_keep")
    desk.says("lw_grid_saved", "There is a LoRA of this name already")
    desk.type("lw_grid_name", "final")
    desk.type("lw_grid_activation", "mira, 1girl")
    desk.click("lw_grid_keep")
    desk.says("lw_grid_saved", "Saved final.safetensors, final.json, final.preview.png")
    folder = workbench.host.paths.loras
    assert read_lora(folder / "final.safetensors").metadata["ss_output_name"] == "final"
    card = json.loads((folder / "final.json").read_text(encoding="utf-8"))
    assert (card["activation text"], card["preferred weight"]) == ("mira, 1girl", 1.0)
    assert card["description"] == "" and "mira" in card["notes"]  # where it comes from is for oneself
    assert (folder / "final.preview.png").stat().st_size > 1000


def publish(desk: Desk, workbench: Workbench) -> None:
    desk.click("lw_grid_publish")
    desk.sees("#lw_inspect_head h4", "final")
    desk.sees("#lw_inspect_blocks li", "M00")
    desk.sees_value("lw_publish_trigger", "mira, 1girl")
    assert desk.read("lw_publish_description") == ""
    desk.sees("#lw_publish_pictures [aria-pressed=true]", "cover")
    desk.click("lw_publish_make")
    desk.says("lw_publish_message", "Published final with 1 picture")
    assert (workbench.host.paths.places.published / "final" / "README.md").is_file()
    desk.tab("Epoch grid")


def cancel(desk: Desk, workbench: Workbench) -> None:
    desk.sees_value("lw_grid_prompts", "girl, red hat, smile\ngirl, cap, smile")  # the last grid's, after the reload
    desk.type("lw_grid_seeds", "1-90")
    desk.sees("#lw_grid_plan", "Will make 360 images of 64×64 in 90 tables")
    desk.click("lw_grid_make")
    desk.sees("#lw_grid_progress progress")
    desk.click("lw_grid_cancel")
    desk.sees("#lw_grid_progress", "what is done stays")
    assert workbench.queue.wait(workbench.queue.jobs()[-1].id, 60).state == "cancelled"
