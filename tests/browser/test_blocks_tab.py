"""The Blocks tab by clicking: sliders, text and presets say the same; symptoms, undo, solo, scan, save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec, read_lora, write_lora
from lib_lora.adapters.blocks import BlockWeights, load_presets
from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

ONES = ",".join("1" * 17)
GP1 = "1,0.6,0.9,0.9,0.9,0.6,0.5,0.4,0.4,0.6,0.8,1,1.1,1.1,1.1,1.1,1.1"

LATE = """() => {
    window.lwFetch = window.fetch;
    window.fetch = (...request) => new Promise((go) => setTimeout(go, 600)).then(() => window.lwFetch(...request));
}"""


@pytest.fixture
def lora(workbench: Workbench) -> Path:
    """A random LoRA of the text encoder and of two blocks, so that a scan is short."""
    with workbench.host.training_session() as model:
        spec = NetworkSpec(rank=2, alpha=2, layers="mid_block|up_blocks_3_attentions_2|te_.*_mlp")
        network = Network.create(model.layers(), spec, 0)
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    metadata = {"ss_network_dim": "2", "ss_resolution": "(64, 64)", "modelspec.trigger_phrase": "mira"}
    return write_lora(workbench.host.paths.loras / "mira.safetensors", network.modules(), metadata)


class BlocksDesk(Desk):
    """The tab in the words of its user."""

    def text_is(self, text: str) -> None:
        self.sees_value("lw_blocks_vector", text)

    def slider_is(self, block: str, value: float) -> None:
        self.page.wait_for_function(
            "([block, value]) => Number(document.querySelector(`[data-lw-block=${block}]`)?.value) === value",
            arg=[block, value],
        )

    def move(self, block: str, value: float) -> None:
        self.page.locator(f"[data-lw-block={block}]").fill(str(value))

    def write(self, text: str) -> None:
        self.type("lw_blocks_vector", text)

    def write_all(self) -> None:
        """Every block at 1, in the text and in the sliders, which a click on one of their buttons starts from."""
        self.write("ALL")
        self.text_is(ONES)
        self.page.wait_for_function(
            "() => Array.from(document.querySelectorAll('[data-lw-block]')).every((s) => Number(s.value) === 1)"
        )

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f"input[name=lw_blocks_{name}][value='{value}']").check()


def test_blocks_tab(lora: Path, page: Page, workbench: Workbench, tmp_path: Path) -> None:
    desk = BlocksDesk(page, tmp_path / "pictures")
    desk.tab("Blocks")
    desk.text_is(ONES)
    desk.sees("#lw_blocks_about", "LoRA · SD1 · rank 2 · 17 blocks")
    sliders_text_preset(desk)
    several_at_once(desk)
    kinds_links_solo(desk)
    symptom_and_undo(desk)
    presets_of_ones_own(desk, workbench)
    scan(desk, workbench)
    desk.photograph("blocks")
    save(desk, workbench)
    carry_to_merge(desk)


def sliders_text_preset(desk: BlocksDesk) -> None:
    desk.pick("lw_blocks_preset", "GP1")
    desk.text_is(GP1)
    desk.slider_is("M00", 0.4)
    desk.move("M00", 0.75)
    desk.text_is(GP1.replace("0.5,0.4,0.4", "0.5,0.75,0.4"))
    desk.sees("#lw_blocks_tag", "0.5,0.75,0.4")
    desk.write("te=0.5,OUT11=0")
    desk.text_is(f"0.5{',1' * 15},0")
    desk.slider_is("BASE", 0.5)
    desk.slider_is("OUT11", 0)
    desk.write("1,2,3")
    desk.sees("#lw_blocks_message", "has 3 block weights")
    desk.write_all()
    desk.page.locator("[data-lw-group=OUT][data-lw-value='0.5']").click()
    desk.text_is(",".join([*"1" * 8, *["0.5"] * 9]))


def several_at_once(desk: BlocksDesk) -> None:
    """Answers come late; none of them takes a slider back that has been moved since."""
    desk.write_all()
    desk.page.evaluate(LATE)
    for block in ("IN01", "IN02"):
        desk.page.locator(f"[data-lw-mute={block}]").click()
    desk.page.wait_for_timeout(1000)  # by now the answer to the first is there, that to the second is not
    for block in ("M00", "OUT11"):
        desk.page.locator(f"[data-lw-mute={block}]").click()
    wanted = "1,0,0,1,1,1,1,0,1,1,1,1,1,1,1,1,0"
    desk.sees("#lw_blocks_tag", wanted)
    desk.page.evaluate("window.fetch = window.lwFetch")
    desk.text_is(wanted)
    desk.slider_is("IN01", 0)


def kinds_links_solo(desk: BlocksDesk) -> None:
    desk.write_all()
    desk.choose("scope", "attn")
    desk.move("IN04", 0.5)
    desk.text_is(f"{ONES},IN04.attn=0.5")
    desk.choose("scope", "")
    desk.slider_is("IN04", 1)
    desk.choose("link", "group")
    desk.move("IN01", 0.8)
    desk.text_is(f"1{',0.8' * 6}{',1' * 10},IN04.attn=0.5")
    desk.choose("link", "")
    desk.page.locator("[data-lw-solo=M00]").click()
    desk.text_is(f"{'0,' * 7}1{',0' * 9}")
    desk.page.locator("[data-lw-solo=M00]").click()
    desk.text_is(f"1{',0.8' * 6}{',1' * 10},IN04.attn=0.5")
    desk.write_all()
    for wanted in (f"0{',1' * 16}", ONES):
        desk.page.locator("[data-lw-mute=BASE]").click()
        desk.text_is(wanted)


def symptom_and_undo(desk: BlocksDesk) -> None:
    desk.click("lw_blocks_symptom_clothing")
    desk.sees("#lw_blocks_proposal", "IN04")
    desk.text_is(ONES)  # nothing is changed before it is said
    desk.click("lw_blocks_symptom_do")
    desk.text_is(f"1,1,0.9,0.9,0.9{',1' * 12}")
    desk.slider_is("IN04", 0.9)
    desk.click("lw_blocks_undo")
    desk.text_is(ONES)
    desk.slider_is("IN04", 1)
    desk.click("lw_blocks_redo")
    desk.text_is(f"1,1,0.9,0.9,0.9{',1' * 12}")
    desk.page.reload()
    desk.tab("Blocks")
    desk.text_is(f"1,1,0.9,0.9,0.9{',1' * 12}")  # a reload loses nothing
    desk.click("lw_blocks_symptom_chaotic")
    desk.sees("#lw_blocks_proposal", "IN05")
    desk.click("lw_blocks_symptom_more")
    desk.sees("#lw_blocks_proposal", "whole LoRA")
    desk.click("lw_blocks_symptom_do")
    desk.sees_value("lw_blocks_scale", "0.8")


def presets_of_ones_own(desk: BlocksDesk, workbench: Workbench) -> None:
    desk.open("Scale a range, presets")
    desk.type("lw_blocks_factor", "0.5")
    desk.click("lw_blocks_scale_range")
    desk.text_is(f"1,1,0.9,0.9,0.9,1,1,1{',0.5' * 9}")
    desk.type("lw_blocks_preset_name", "SOFT")
    desk.click("lw_blocks_preset_save")
    desk.sees("#lw_blocks_more_message", "Saved")
    saved = load_presets(workbench.host.paths.data / "block_presets.txt")["SOFT"]
    assert saved == f"1,1,0.9,0.9,0.9,1,1,1{',0.5' * 9}"
    desk.click("lw_blocks_preset_save")
    desk.sees("#lw_blocks_more_message", "already")


def scan(desk: BlocksDesk, workbench: Workbench) -> None:
    desk.open("Block preview: size, steps and sampler")
    desk.type("lw_blocks_steps", "2")
    desk.open("Strength of each block")
    desk.type("lw_blocks_scan_seeds", "1")
    desk.sees("#lw_blocks_scan_plan", "5 pictures")
    desk.click("lw_blocks_scan")
    desk.page.locator("#lw_blocks_scan_result .lw-picture").nth(3).wait_for()
    assert desk.page.locator("#lw_blocks_scan_result tbody tr").count() == 3
    desk.page.locator("#lw_blocks_scan_result th button", has_text="layers").click()
    cells = desk.page.locator("#lw_blocks_scan_result tbody td:nth-child(2)").all_inner_texts()
    assert list(map(int, cells)) == sorted(map(int, cells), reverse=True)
    assert (workbench.host.paths.data / "block-scans" / "mira.csv").read_text(encoding="utf-8").startswith("block,")
    assert desk.page.locator("#lw_blocks_scan_result .lw-picture").count() == 4  # whole, and without each of three
    bar = "getComputedStyle(document.querySelector('[data-lw-strength=M00]')).getPropertyValue('--lw-part')"
    assert float(desk.page.evaluate(bar)) > 0
    desk.click("lw_blocks_preview")
    desk.sees_picture("#lw_blocks_result img.lw-after", 64)
    picture_follows(desk)


def picture_follows(desk: BlocksDesk) -> None:
    """A slider that is released is drawn; a key shows the picture without; a click on an earlier one goes back."""
    before = desk.read("lw_blocks_vector")
    desk.move("M00", 0.25)
    desk.sees("#lw_blocks_result .lw-stage:not(.lw-stale)")
    desk.page.wait_for_function("document.querySelectorAll('#lw_blocks_result .lw-state').length >= 3")
    without = desk.page.locator("#lw_blocks_result .lw-without")
    desk.page.keyboard.down("b")
    without.wait_for(state="visible")
    desk.page.keyboard.up("b")
    without.wait_for(state="hidden")
    desk.page.locator("#lw_blocks_result .lw-state").nth(-2).click()
    desk.text_is(before)


def save(desk: BlocksDesk, workbench: Workbench) -> None:
    desk.write("ALL0.5,te=0")
    desk.text_is(f"0{',0.5' * 16}")
    desk.click("lw_blocks_save")
    desk.sees("#lw_blocks_saved", "Saved mira-tuned.safetensors")
    tuned = read_lora(workbench.lora_path("mira-tuned"))
    assert not any(key.startswith("lora_te") for key in tuned.modules)
    recorded = tuned.metadata["merge_formula"]
    assert recorded.startswith("mira:0.8:")
    assert BlockWeights.parse(recorded.partition(":0.8:")[2], {})["OUT11"] == 0.5


def carry_to_merge(desk: BlocksDesk) -> None:
    desk.click("lw_blocks_merge")
    desk.sees_value("lw_merge_formula", f"mira:0.8:0{',0.5' * 16}")
    desk.page.locator("#lw_merge_calculate").wait_for()
