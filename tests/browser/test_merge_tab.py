"""The Merge tab by clicking: merge, preview, save, cancel, resize, a checkpoint, and the base style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib_lora.adapters.file import read_lora
from lib_lora.training.config import TrainConfig
from tests.browser.desk import Desk
from tests.browser.loras import random_lora

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench


@pytest.fixture
def style(workbench: Workbench) -> TrainConfig:
    """Two LoRAs, one of them a DoRA, and a run whose settings make a training short."""
    random_lora(workbench, "style", 1)
    random_lora(workbench, "dora", 2, dora=True)
    config = TrainConfig(
        name="other", resolution=64, bucket_step=8, rank=2, batch_size=1, epochs=1, fixed_loss_images=0, max_tokens=75
    )
    workbench.runs.create(config)
    return config


def test_merge(style: TrainConfig, page: Page, workbench: Workbench, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    desk.tab("Merge")
    desk.tab("Formula")
    calculate(desk)
    preview(desk)
    cancel(desk, workbench)
    save(desk, workbench)
    resize(desk)
    write_checkpoint(desk, workbench)
    base_style(desk, workbench)


def calculate(desk: Desk) -> None:
    desk.click("lw_merge_calculate")
    desk.says("lw_merge_message", "Nothing to merge")
    desk.type("lw_merge_formula", "style:1:GP1,dora:-1")
    desk.sees_value("lw_merge_weight_2", "-1")
    desk.type("lw_merge_rank", "3")
    desk.type("lw_merge_energy", "2")
    desk.click("lw_merge_calculate")
    desk.says("lw_merge_message", "The quality to keep cannot be '2'")
    desk.type("lw_merge_energy", "99 %")
    desk.click("lw_merge_calculate")
    desk.sees("#lw_merge_facts", "Largest error")
    desk.sees("#lw_merge_facts svg[aria-label='Quality kept']")
    desk.page.locator("#lw_merge_facts summary").click()
    desk.sees("#lw_merge_facts td", "lora_unet_mid_block")


def preview(desk: Desk) -> None:
    desk.open("Merge preview: size, steps and sampler")
    for name, value in (("width", 64), ("height", 64), ("steps", 1)):
        desk.type(f"lw_merge_{name}", value)
    desk.type("lw_merge_prompt", "1girl")
    desk.click("lw_merge_preview")
    desk.sees_picture("#lw_merge_result img", 64, count=3)
    desk.photograph("merge")


def cancel(desk: Desk, workbench: Workbench) -> None:
    desk.type("lw_merge_steps", 1000)
    desk.click("lw_merge_preview")
    desk.sees("#lw_merge_preview_progress progress")
    desk.click("lw_merge_cancel")
    assert workbench.queue.wait(workbench.queue.jobs()[-1].id, 60).state == "cancelled"
    desk.sees("#lw_merge_preview_progress", "Cancelled")


def save(desk: Desk, workbench: Workbench) -> None:
    desk.sees_value("lw_merge_name", "style-merged")
    desk.type("lw_merge_name", "style")
    desk.click("lw_merge_save")
    desk.says("lw_merge_saved", "There is a LoRA of this name already")
    desk.type("lw_merge_name", "clean")
    desk.click("lw_merge_save")
    desk.says("lw_merge_saved", "Saved clean.safetensors: style:1:GP1,dora:-1")
    saved = read_lora(workbench.lora_path("clean"))
    assert max(params["lora_down.weight"].shape[0] for params in saved.modules.values()) == 3
    what_is_out_of_date_cannot_be_saved(desk)


def what_is_out_of_date_cannot_be_saved(desk: Desk) -> None:
    desk.type("lw_merge_formula", "style:1:GP1,dora:-0.5")
    desk.sees("#lw_merge_report .lw-stale")
    for button in ("lw_merge_save", "lw_merge_preview"):
        desk.page.locator(f"#{button}:disabled, #{button} :disabled").wait_for()
    desk.type("lw_merge_formula", "style:1:GP1,dora:-1")
    desk.page.locator("#lw_merge_report .lw-stale").wait_for(state="detached")


def resize(desk: Desk) -> None:
    desk.tab("Resize")
    desk.pick("lw_resize_lora", "dora", beside="clean")
    desk.type("lw_resize_rank", "8")
    desk.click("lw_resize_calculate")
    desk.sees_value("lw_merge_name", "dora-r8")
    desk.sees("#lw_merge_report", "dora:1")


def write_checkpoint(desk: Desk, workbench: Workbench) -> None:
    desk.tab("Formula")
    desk.open("Write into a checkpoint instead")
    desk.pick("lw_merge_checkpoint", "tiny")
    desk.type("lw_merge_new_checkpoint", "tiny")
    desk.click("lw_merge_write")
    desk.says("lw_merge_written", "There is a checkpoint of this name already")
    name = workbench.host.paths.data.parent.name  # the folder of checkpoints is shared by all tests
    desk.type("lw_merge_new_checkpoint", name)
    desk.click("lw_merge_write")
    desk.says("lw_merge_write_progress", f"Wrote {name}.safetensors")
    path = workbench.host.checkpoint_path(name)
    assert path.stat().st_size == pytest.approx(workbench.host.info().path.stat().st_size, rel=0.01)
    path.unlink()
    path.with_suffix(".yaml").unlink()


def base_style(desk: Desk, workbench: Workbench) -> None:
    desk.tab("Base style")
    desk.type("lw_base_count", 2)
    desk.type("lw_base_subjects", "1girl")
    desk.open("Base pictures: size, steps and sampler")
    for name, value in (("width", 64), ("height", 64), ("steps", 1)):
        desk.type(f"lw_base_{name}", value)
    desk.click("lw_base_train")
    desk.says("lw_base_message", "The pictures are not complete")
    desk.click("lw_base_generate")
    desk.sees("#lw_base_pictures", "2 of 2 pictures")
    desk.sees("#lw_base_generate", "✓ 1")
    desk.type("lw_base_count", 3)
    desk.click("lw_base_generate")
    desk.says("lw_base_message", "Pictures with other settings")
    desk.pick("lw_base_like", workbench.runs.list()[-1].id)
    desk.click("lw_base_train")
    desk.sees("#lw_base_train", "✓ 2")
    desk.photograph("base-style")
    desk.pick("lw_base_style", "style")
    desk.click("lw_base_subtract")
    desk.sees_value("lw_style_base", "BASE")
    desk.sees("#lw_style_formula", "= style:1:GP1,BASE:-1:GP2")
    subtract(desk)


def subtract(desk: Desk) -> None:
    desk.type("lw_merge_steps", 1)
    desk.click("lw_style_go")
    desk.sees("#lw_merge_report", "style:1:GP1,BASE:-1:GP2")
    desk.sees("#lw_merge_result figcaption", "style alone")
    desk.sees_value("lw_merge_name", "style-clean")
    desk.photograph("subtract")
    desk.pick("lw_style_style", "dora")
    desk.sees("#lw_merge_report .lw-stale")
    desk.pick("lw_style_style", "BASE")
    desk.says("lw_style_message", "nothing would be left")
    desk.pick("lw_style_style", "style")
    desk.click("lw_style_rows")
    desk.sees_value("lw_merge_formula", "style:1:GP1,BASE:-1:GP2")
    desk.sees_value("lw_merge_lora_2", "BASE")
