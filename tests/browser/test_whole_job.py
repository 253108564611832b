"""The whole job by clicking: from a drop to a published folder in at most eight clicks; then tune, merge, look back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lib_lora.adapters.file import read_lora
from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

SETTINGS = {"resolution": 64, "bucket_step": 8, "rank": 2, "batch_size": 1, "sample_every_n_epochs": 1}
MOST_CLICKS = 8  # from dropped pictures to a published folder, without a typed field
TRAINED = 600  # s; a few on a free core


def test_whole_job(page: Page, workbench: Workbench, images: Path, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    train(desk, images)
    reload_in_the_middle(desk, workbench)
    make_the_grid(desk, workbench)
    publish(desk, workbench)
    assert desk.clicks <= MOST_CLICKS
    keep_it(desk)
    tune_blocks(desk, workbench)
    merge(desk, workbench)
    look_at_runs(desk, workbench)


def train(desk: Desk, images: Path) -> None:
    desk.tab("Train")
    desk.click("lw_train_start")
    desk.says("lw_train_message", "name")  # an empty form is refused, beside the field and at the button
    desk.tab("Dataset")
    desk.drop(images)
    desk.page.wait_for_selector("#lw_ds_pictures .lw-thumb:nth-child(2)")
    desk.go("#lw_way li:nth-child(2) button")
    desk.sees_value("lw_train_name", "mira")
    desk.sees_value("lw_train_trigger", "mira")
    desk.sees("#lw_train_live", "2 images")
    desk.type("lw_train_epochs", 2)  # what is typed from here on is for the tiny model's sake
    desk.open_settings(*SETTINGS, "sample_prompts")
    desk.type("lw_train_sample_prompts", "mira --s 2 --l 1")  # how often is asked once there is something to draw
    for name, value in SETTINGS.items():
        desk.type(f"lw_train_{name}", value)
    desk.sees("#lw_train_changes", "Rank (preset: 16)")
    desk.click("lw_train_check")
    desk.sees("#lw_check", "120 steps")
    desk.sees("#lw_check", "mira, 1girl")
    desk.photograph("check")
    desk.go("#lw_train_start")
    desk.says("lw_train_message", "Started")


def reload_in_the_middle(desk: Desk, workbench: Workbench) -> None:
    desk.click("lw_pause")
    workbench_is(workbench, "paused")
    desk.page.reload()
    desk.sees("#lw_job", "mira")  # what is running is known to a page that has just been opened
    desk.page.locator("#lw_pause", has_text="Go on").click()
    assert workbench.queue.wait(workbench.queue.jobs()[-1].id, TRAINED).state == "done"
    desk.sees("#lw_train_compare", "2 epochs saved")
    desk.sees("#lw_train_chart figure.lw-chart", "running loss")
    desk.page.get_by_role("columnheader", name="epoch 2").wait_for()
    desk.sees_picture("#lw_train_samples td img", 64, 3)  # before the first step, and at each epoch
    desk.sees("#lw_train_log li", "Epoch 2 saved as mira.safetensors")
    assert desk.page.locator("#lw_train_chart circle.lw-best").count() == 1  # also when it is drawn anew
    desk.photograph("train")


def workbench_is(workbench: Workbench, state: str) -> None:
    job = workbench.queue.jobs()[-1]
    for _ in range(200):
        if workbench.queue.view(job.id).state in (state, "done"):
            return
        workbench.queue.wait(job.id, timeout=0.1)
    raise AssertionError(f"the job never was {state}")


def make_the_grid(desk: Desk, workbench: Workbench) -> None:
    desk.go("#lw_train_compare")
    desk.sees("#lw_grid_plan", "Will make 6 images of 64×64")
    desk.type("lw_grid_weights", "0.5-")
    desk.sees("#lw_grid_plan", "neither a number nor a range")
    desk.type("lw_grid_weights", "0.5, 1")
    desk.open("Grid: size, steps and sampler")
    desk.type("lw_grid_steps", 2)
    desk.sees("#lw_grid_plan", "Will make 4 images")
    desk.go("#lw_grid_make")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64, 4)
    desk.go('[data-lw-cell="e1:0.5:"]')
    desk.sees("#lw_grid_chosen", "Chosen: epoch 1 at 0.5")
    desk.sees(".lw-cell.lw-chosen", "chosen")
    assert workbench.runs.list()[0].chosen() == {"epoch": 1, "weight": 0.5}
    desk.photograph("grid")


def publish(desk: Desk, workbench: Workbench) -> None:
    desk.go("#lw_grid_publish")
    desk.sees_value("lw_publish_name", "mira")
    desk.page.wait_for_selector("#lw_publish_pictures .lw-chosen img")
    desk.photograph("publish")
    desk.go("#lw_publish_make")
    desk.says("lw_publish_message", "Published mira with")
    made = workbench.host.paths.places.published / "mira"
    assert (made / "README.md").is_file() and (made / "images" / "01.png").is_file()


def keep_it(desk: Desk) -> None:
    desk.tab("Epoch grid")
    desk.sees_value("lw_grid_name", "mira-e1-w0.5")
    desk.click("lw_grid_keep")
    desk.says("lw_grid_saved", "Saved mira-e1-w0.5.safetensors")


def tune_blocks(desk: Desk, workbench: Workbench) -> None:
    desk.click("lw_grid_tune")
    desk.page.wait_for_function("document.querySelectorAll('#lw_blocks_sliders input[type=range]').length == 17")
    assert desk.read("lw_blocks_lora") == "mira-e1-w0.5"
    desk.pick("lw_blocks_preset", "OUTS")
    desk.page.wait_for_function("document.querySelector('[data-lw-block=M00]').value == 0")
    desk.page.locator("[data-lw-block=OUT11]").fill("0.25")
    assert desk.read("lw_blocks_vector") == "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,0.25"
    desk.open("Block preview: size, steps and sampler")
    desk.type("lw_blocks_steps", 2)
    desk.type("lw_blocks_prompt", "mira")
    desk.click("lw_blocks_preview")
    desk.sees_picture("#lw_blocks_result img.lw-after", 64)
    desk.photograph("blocks")
    desk.type("lw_blocks_name", "mira-tuned")
    desk.click("lw_blocks_save")
    desk.says("lw_blocks_saved", "Saved mira-tuned.safetensors")
    keys = read_lora(workbench.lora_path("mira-tuned")).modules
    assert not any("down_blocks" in key or "mid_block" in key for key in keys)


def merge(desk: Desk, workbench: Workbench) -> None:
    desk.tab("Merge")
    desk.tab("Formula")
    desk.pick("lw_merge_lora_1", "mira", beside="mira-tuned")
    desk.sees_value("lw_merge_formula", "mira:1")  # the row's answer; no hand types into it before
    desk.type("lw_merge_formula", "mira:1:GP1,mira-tuned:-1:GP2")
    desk.sees_value("lw_merge_weight_2", "-1")
    desk.sees_value("lw_merge_lora_2", "mira-tuned")
    desk.type("lw_merge_weight_2", "-0.5")
    desk.sees_value("lw_merge_formula", "mira:1:GP1,mira-tuned:-0.5:GP2")
    desk.type("lw_merge_rank", "2")
    desk.click("lw_merge_calculate")
    desk.sees("#lw_merge_facts", "Largest error")
    desk.photograph("merge")
    desk.sees_value("lw_merge_name", "mira-merged")
    desk.type("lw_merge_name", "mira")
    desk.click("lw_merge_save")
    desk.says("lw_merge_saved", "There is a LoRA of this name already")
    desk.type("lw_merge_name", "mira-clean")
    desk.click("lw_merge_save")
    desk.says("lw_merge_saved", "Saved mira-clean.safetensors")
    assert read_lora(workbench.lora_path("mira-clean")).modules


def look_at_runs(desk: Desk, workbench: Workbench) -> None:
    desk.tab("Runs")
    desk.sees("#lw_runs_table td", "epoch 1 at 0.5")
    desk.click("lw_runs_open")
    desk.sees("#lw_runs_details td", "Resolution")
    desk.photograph("runs")
    desk.click("lw_runs_delete")
    desk.says("lw_runs_question", "Its LoRA files stay")
    desk.click("lw_runs_yes")
    desk.sees("#lw_runs_table", "No run yet")
    assert not workbench.runs.list()
    assert workbench.lora_path("mira").is_file()
