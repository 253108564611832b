"""The main way by clicking, from dropped pictures to a published folder, in the versions that a web UI has.

Not collected by itself: :mod:`tests.hosts.test_pins` runs it in environments that hold those versions.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lib_lora.adapters.file import read_lora
from lib_lora.ui import guard
from lib_lora.ui import webui as entry
from lib_lora.workbench import Workbench
from tests.browser.desk import Desk
from tests.browser.test_once import (  # noqa: F401
    test_a_button_takes_no_second_click_until_the_answer_is_there,
    test_a_button_takes_the_next_click_as_soon_as_the_answer_is_there,
    test_what_waits_for_an_answer_keeps_its_size,
)
from tests.browser.window import chromium, window
from tests.hosts.a1111.page import web_ui_page

READABLE = 4.5  # to 1, as WCAG asks of text
CONTRASTS = """buttons => {
    const light = (colour) => {
        const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255);
        const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05;
    };
    return buttons.filter((button) => button.offsetParent).map(getComputedStyle).map((style) => {
        const [low, high] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
        return style.backgroundImage === "none" ? high / low : 0;
    });
}"""
SETTINGS = {"bucket_step": 8, "rank": 2, "resolution": 64, "batch_size": 1, "epochs": 1}


@pytest.fixture
def images(webui) -> Path:
    folder = webui.data / "sets" / "6_mira"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "firebrick").save(folder / "a.png")
    (folder / "a.txt").write_text("mira, 1girl", encoding="utf-8")
    return folder.parent


@pytest.fixture
def context():
    with chromium() as browser:
        yield browser.new_context(viewport={"width": 1280, "height": 900})


@pytest.fixture
def desk(webui, context, tmp_path: Path):
    entry.workbench.cache_clear()
    webui.host.load("tiny.safetensors")
    started = web_ui_page(guard.tabs(), lambda demo, app: entry.add_routes(app))
    with started as address, window(context, address, own=False) as page:
        desk = Desk(page, tmp_path / "pictures")
        desk.tab("LoRA Workbench")
        page.wait_for_selector("#lw_job .lw-job-line")
        yield desk
    entry.workbench.cache_clear()


def test_main_way(desk: Desk, images: Path) -> None:
    workbench = entry.workbench()
    prepare(desk, images)
    train(desk)
    choose(desk)
    publish(desk, workbench)
    tune(desk)
    merge(desk)
    assert read_lora(workbench.lora_path("mira-clean")).modules
    desk.tab("Runs")
    desk.sees("#lw_runs_table td", "epoch 1 at 1")
    desk.photograph("runs")


def test_main_buttons_can_be_read(desk: Desk) -> None:
    desk.tab("Merge")
    for theme in ("light", "dark"):
        desk.page.evaluate("theme => document.body.classList.toggle('dark', theme === 'dark')", theme)
        ratios = desk.page.eval_on_selector_all("#lw_tab_merge button.primary", CONTRASTS)
        assert ratios and min(ratios) >= READABLE, (theme, ratios)


def prepare(desk: Desk, images: Path) -> None:
    desk.tab("Dataset")
    desk.drop(images)
    desk.sees("#lw_ds_set", "1 image")
    desk.page.wait_for_function("document.querySelector('#lw_ds_pictures img')?.naturalWidth > 0")
    desk.photograph("dataset")
    desk.tool("check")
    desk.type("lw_ds_trigger", "mira")
    desk.click("lw_ds_send")
    dropped = desk.page.wait_for_function("document.querySelector('#lw_train_data_dir textarea')?.value").json_value()
    assert Path(dropped) != images and (Path(dropped) / "6_mira" / "a.txt").read_text() == "mira, 1girl"


def train(desk: Desk) -> None:
    desk.type("lw_train_name", "mira")
    desk.open_settings(*SETTINGS)
    for name, value in SETTINGS.items():
        desk.type(f"lw_train_{name}", value)
    desk.sees("#lw_train_changes", "Rank (preset: 16)")
    desk.click("lw_train_check")
    desk.sees("#lw_check", "mira, 1girl")
    desk.photograph("check")
    desk.click("lw_train_start")
    desk.sees("#lw_job progress")  # from here on the page is only looked at
    desk.sees("#lw_train_compare", "1 epoch saved")
    desk.sees("#lw_train_chart figure.lw-chart", "running loss")
    desk.photograph("train")


def choose(desk: Desk) -> None:
    desk.click("lw_train_compare")
    desk.type("lw_grid_weights", "1")
    desk.open("Grid: size, steps and sampler")
    desk.type("lw_grid_steps", 1)
    desk.sees("#lw_grid_plan", "Will make 1 image of 64×64")
    desk.click("lw_grid_make")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64)
    desk.page.locator("[data-lw-cell]").first.click()
    desk.sees("#lw_grid_chosen", "Chosen: epoch 1 at 1")
    desk.photograph("grid")


def publish(desk: Desk, workbench: Workbench) -> None:
    desk.click("lw_grid_publish")
    desk.sees_value("lw_publish_name", "mira")
    desk.page.wait_for_selector("#lw_publish_pictures .lw-chosen img")
    desk.click("lw_publish_make")
    desk.says("lw_publish_message", "Published mira with")
    assert (workbench.host.paths.places.published / "mira" / "README.md").is_file()
    desk.photograph("publish")


def tune(desk: Desk) -> None:
    desk.tab("Epoch grid")
    desk.click("lw_grid_tune")
    desk.page.wait_for_function("document.querySelectorAll('#lw_blocks_sliders input[type=range]').length == 17")
    desk.pick("lw_blocks_preset", "OUTS")
    desk.page.wait_for_function("document.querySelector('[data-lw-block=M00]').value == 0")
    desk.sees_picture("#lw_blocks_lora_picture img", 64)
    desk.page.locator("[data-lw-block=OUT11]").fill("0.25")
    assert desk.read("lw_blocks_vector") == "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,0.25"
    desk.open("Block preview: size, steps and sampler")
    desk.type("lw_blocks_steps", 1)
    desk.click("lw_blocks_preview")
    desk.sees_picture("#lw_blocks_result img.lw-after", 64)
    desk.type("lw_blocks_name", "mira-tuned")
    desk.click("lw_blocks_save")
    desk.says("lw_blocks_saved", "Saved mira-tuned.safetensors")
    desk.photograph("blocks")


def merge(desk: Desk) -> None:
    desk.tab("Merge")
    desk.tab("Formula")
    desk.pick("lw_merge_lora_1", "mira")
    desk.page.wait_for_function(
        "document.querySelector('#lw_merge_formula textarea, #lw_merge_formula input')?.value.startsWith('mira')"
    )
    desk.type("lw_merge_formula", "mira:1:GP1,mira-tuned:-1:GP2")
    desk.page.wait_for_function("document.querySelector('#lw_merge_weight_2 input').value == '-1'")
    desk.click("lw_merge_calculate")
    desk.page.wait_for_selector("#lw_merge_save")
    desk.type("lw_merge_name", "mira-clean")
    desk.click("lw_merge_save")
    desk.says("lw_merge_saved", "Saved mira-clean.safetensors")
    desk.photograph("merge")


def test_what_happens_in_the_tab_is_kept_from_gradio(desk: Desk, images: Path) -> None:
    """It would draw the whole page of the web UI anew, several times for each event."""
    desk.page.evaluate("window.told = []; window.addEventListener('gradio', (event) => told.push(event.detail.event))")
    desk.tab("Dataset")
    desk.type("lw_ds_folders", images)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "1 image")
    desk.page.locator("#lw_ds_pictures .lw-thumb").click()
    desk.sees_value("lw_ds_caption", "mira, 1girl")
    desk.type("lw_ds_caption", "mira, hat")
    desk.says("lw_ds_caption_message", "Saved a.png")
    assert desk.page.evaluate("told") == []
