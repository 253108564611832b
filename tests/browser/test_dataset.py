"""Open, set duplicates aside, tag, edit, balance, send to Train: by clicking."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib_lora.demo.world import MIRA, Spec, jittered, render
from lib_lora.ui.dataset.caption_panel import count_tokens
from tests.browser.desk import Desk
from tests.dataset.tagging.models import write_model

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

COUNT = 8


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """Eight pictures, one of them twice; half of them with captions."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    r = random.Random(1)
    for number in range(COUNT):
        picture = render(replace(jittered(Spec((MIRA,)), r), size=(192, 256)))
        picture.save(folder / f"{number}.png")
        if number % 2:
            (folder / f"{number}.txt").write_text("mira, 1girl, aqua hair", encoding="utf-8")
        if number == 3:
            picture.resize((96, 128)).save(folder / "copy.jpg", quality=80)
    return folder


def test_from_downloads_to_train(page: Page, workbench: Workbench, downloads: Path, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    model = write_model(tmp_path / "taggers" / "wd-tiny")
    open_and_look(desk, downloads)
    set_copies_aside(desk, downloads)
    tag(desk, downloads, model)
    edit(desk, downloads)
    crop(desk, downloads)
    balance(desk, downloads)
    send_to_train(desk, downloads)


def open_and_look(desk: Desk, downloads: Path) -> None:
    desk.tab("Dataset")
    desk.type("lw_ds_folders", downloads / "nowhere")
    desk.click("lw_ds_open")
    desk.says("lw_ds_message", "no such folder")
    desk.click("lw_ds_browse")
    desk.page.locator("#lw_ds_browse_list .lw-close").click()
    desk.type("lw_ds_folders", downloads)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "9 images")
    desk.page.wait_for_function("document.querySelectorAll('#lw_ds_pictures .lw-thumb img').length == 9")
    desk.page.wait_for_function("document.querySelector('#lw_ds_pictures .lw-thumb img').naturalWidth > 0")


def set_copies_aside(desk: Desk, downloads: Path) -> None:
    desk.click("lw_ds_find")
    desk.sees("#lw_ds_found", "1 picture with copies")
    desk.click("lw_ds_aside")
    desk.sees("#lw_ds_dry_run", "nothing has been changed yet")
    assert (downloads / "copy.jpg").exists()
    desk.photograph("duplicates")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_set", "8 images")
    assert (downloads / ".rejected" / "copy.jpg").exists()


def tag(desk: Desk, downloads: Path, model: Path) -> None:
    desk.tool("tagging")
    desk.type("lw_ds_tagger_folder", model)
    desk.click("lw_ds_tag")
    desk.sees("#lw_ds_dry_run", "captions written 4")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_set", "8 with tags")
    assert all(path.with_suffix(".txt").exists() for path in downloads.glob("*.png"))


def edit(desk: Desk, downloads: Path) -> None:
    desk.tool("tags")
    desk.type("lw_ds_tag_tags", "mira")
    desk.click("lw_ds_tag_plan")
    desk.sees("#lw_ds_dry_run", "captions written 4")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_tags", "mira 8")
    desk.click("lw_ds_undo")
    desk.sees("#lw_ds_tags", "mira 4")
    desk.click("lw_ds_tag_plan")
    desk.sees("#lw_ds_dry_run", "captions written 4")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_tags", "mira 8")
    desk.page.locator("#lw_ds_pictures .lw-thumb").nth(1).click()
    desk.sees_value("lw_ds_caption", "mira, 1girl, aqua hair")
    field = desk.page.locator("#lw_ds_caption textarea")
    field.fill("mira, aqua hair")
    field.press("End")
    field.press_sequentially(", 1gi")
    desk.sees("#lw_ds_suggestions", "1girl")
    desk.sees("#lw_ds_count", "of 75 tokens")
    field.press("Tab")
    assert field.input_value() == "mira, aqua hair, 1girl, "
    field.fill("mira, 1girl, aqua hair, smile")
    field.press("Control+Enter")
    desk.says("lw_ds_caption_message", "Saved")
    desk.saved(downloads / "1.txt", "mira, 1girl, aqua hair, smile")
    desk.page.locator("#lw_ds_pictures .lw-thumb").nth(3).click()
    desk.sees_value("lw_ds_caption", "mira, 1girl, aqua hair")
    field.press("End")
    field.press_sequentially(", hat")
    desk.page.locator("#lw_ds_pictures .lw-thumb").nth(1).click()  # saves what was typed
    desk.sees_value("lw_ds_caption", "mira, 1girl, aqua hair, smile")
    desk.sees("#lw_ds_count", f"{count_tokens('mira, 1girl, aqua hair, smile')} of 75 tokens")
    desk.sees("#lw_ds_current figcaption", "1.png")
    desk.saved(downloads / "3.txt", "mira, 1girl, aqua hair, hat")
    desk.photograph("tags")


def crop(desk: Desk, downloads: Path) -> None:
    desk.tool("pictures")
    desk.sees("#lw_ds_canvas .lw-canvas")
    desk.page.wait_for_function("document.querySelector('#lw_ds_canvas img').naturalWidth > 0")
    canvas = desk.page.locator("#lw_ds_canvas canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    desk.page.mouse.move(box["x"] + 2, box["y"] + 2)
    desk.page.mouse.down()
    desk.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    desk.page.mouse.up()
    desk.click("lw_ds_crop")
    desk.sees("#lw_ds_dry_run", "pictures made 1")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_undo", "Undo: Crop")
    assert len(list((downloads / ".originals").glob("*.png"))) == 1
    desk.click("lw_ds_undo")
    desk.says("lw_ds_applied", "Taken back: Crop")
    assert not (downloads / ".originals").exists() and len(list(downloads.glob("*.png"))) == COUNT


def balance(desk: Desk, downloads: Path) -> None:
    desk.tool("classes")
    desk.sees("#lw_ds_balance", "Main : face")
    desk.page.locator("#lw_ds_classes .lw-thumb").first.click()
    desk.sees("#lw_ds_classes", "put here by hand")
    desk.sees_value("lw_ds_subject", "mira")  # the tag that was put in front
    desk.photograph("classes")
    desk.click("lw_ds_sort")
    desk.sees("#lw_ds_dry_run", "Sort into folders")
    desk.click("lw_ds_apply")
    desk.sees("#lw_ds_undo", "Undo: Sort into folders")
    assert [path for path in downloads.iterdir() if path.is_dir() and path.name.endswith("_mira main")]


def send_to_train(desk: Desk, downloads: Path) -> None:
    desk.tool("check")
    desk.sees_value("lw_ds_trigger", "mira")
    desk.sees("#lw_ds_settings", "With the settings of the Train tab: 512 px")
    desk.click("lw_ds_check")
    desk.sees("#lw_ds_report_panel", "Few images")
    desk.photograph("check")
    desk.click("lw_ds_send")
    desk.sees_value("lw_train_trigger", "mira")
    desk.sees_value("lw_train_data_dir", str(downloads))
    desk.sees_value("lw_train_name", "mira")
