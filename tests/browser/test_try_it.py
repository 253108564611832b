"""*Try it with the paper dolls* through all five steps, by clicking, with a reload at each of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lib_lora.models.base import HostPaths
from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

STEP = "#lw_way li:nth-child({}) button"
TRAINED = 600  # s; a few on a free core
SMALL = {"resolution": 64, "bucket_step": 16, "batch_size": 8, "rank": 2}  # for the tiny model's sake


@pytest.fixture
def workbench(tiny_checkpoint: Path, tmp_path: Path) -> Workbench:
    """The tiny model under the name by which the program knows its miniature."""
    from lib_lora.hosts.standalone.host import StandaloneHost
    from lib_lora.workbench import Workbench

    torch.set_num_threads(1)
    models = tmp_path / "models"
    models.mkdir()
    shutil.copyfile(tiny_checkpoint, models / "miniature.safetensors")
    host = StandaloneHost(HostPaths(tmp_path / "loras", models, tmp_path / "runs", tmp_path / "data"))
    host.load("miniature")
    return Workbench(host)


def test_the_paper_dolls_lead_through_all_five_steps(page: Page, workbench: Workbench, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    folder = workbench.host.paths.places.sets / "paper-dolls"
    look_at_the_set(desk, folder)
    train(desk, workbench, folder)
    choose(desk)
    tune(desk)
    publish(desk, workbench)


def again(desk: Desk) -> None:
    """A reload; what runs, and what comes next, is in view at once."""
    desk.page.reload()
    desk.sees("#lw_job")
    desk.sees("#lw_way li.lw-done", "paper-dolls")


def look_at_the_set(desk: Desk, folder: Path) -> None:
    desk.page.get_by_role("button", name="Try it with the paper dolls").click()
    desk.sees("#lw_ds_set", "24 images")
    desk.type("lw_ds_all", "smile")
    shown = "document.querySelectorAll('#lw_ds_pictures .lw-thumb').length"
    desk.page.wait_for_function(f"{shown} > 0 && {shown} < 24")
    some = desk.page.evaluate(shown)
    again(desk)
    desk.page.wait_for_function(f"{shown} === {some}")
    desk.sees_value("lw_ds_folders", str(folder))
    desk.sees_value("lw_ds_all", "smile")


def train(desk: Desk, workbench: Workbench, folder: Path) -> None:
    desk.go(STEP.format(2))
    desk.sees_value("lw_train_data_dir", str(folder))
    desk.sees_value("lw_train_name", "mira")
    desk.type("lw_train_epochs", 2)
    desk.open_settings(*SMALL)
    for name, value in SMALL.items():
        desk.type(f"lw_train_{name}", value)
    desk.type("lw_train_sample_prompts", "mira --s 2 --l 1")
    desk.sees("#lw_train_changes", "Rank")
    desk.page.wait_for_timeout(1000)  # what was typed is told a moment later
    again(desk)
    desk.sees_value("lw_train_epochs", "2")
    desk.open_settings(*SMALL)
    for name, value in {"data_dir": folder, "name": "mira", "trigger": "mira", "epochs": 2, **SMALL}.items():
        desk.sees_value(f"lw_train_{name}", str(value))
    desk.go("#lw_train_start")
    desk.says("lw_train_message", "Started")
    again(desk)
    assert workbench.queue.wait(workbench.queue.jobs()[-1].id, TRAINED).state == "done"
    desk.sees("#lw_train_compare", "2 epochs saved")


def choose(desk: Desk) -> None:
    desk.go("#lw_train_compare")
    desk.type("lw_grid_weights", "1")
    desk.open("Grid: size, steps and sampler")
    for name, value in {"width": 64, "height": 64, "steps": 2}.items():
        desk.type(f"lw_grid_{name}", value)
    desk.sees("#lw_grid_plan", "Will make 2 images of 64×64")
    desk.go("#lw_grid_make")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64, 2)
    desk.go('[data-lw-cell="e1:1.0:"]')
    desk.sees("#lw_grid_chosen", "Chosen: epoch 1 at 1")
    again(desk)
    desk.sees("#lw_grid_chosen", "Chosen: epoch 1 at 1")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64, 2)


def tune(desk: Desk) -> None:
    desk.go("#lw_grid_tune")
    desk.page.wait_for_function("document.querySelectorAll('#lw_blocks_sliders input[type=range]').length == 17")
    assert desk.read("lw_blocks_lora").startswith("mira")
    again(desk)
    desk.page.wait_for_function("document.querySelectorAll('#lw_blocks_sliders input[type=range]').length == 17")


def publish(desk: Desk, workbench: Workbench) -> None:
    desk.go(STEP.format(5))
    desk.sees_value("lw_publish_name", "mira")
    desk.go("#lw_publish_make")
    desk.says("lw_publish_message", "Published mira with")
    again(desk)
    desk.sees(STEP.format(5), "published")
    made = workbench.host.paths.places.published / "mira"
    assert (made / "README.md").is_file() and (made / "images" / "01.png").is_file()
