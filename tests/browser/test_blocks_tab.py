"""The Blocks tab by clicking: sliders, text and presets say the same; symptoms, undo, solo, scan, save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec, read_lora, write_lora
from lib_lora.adapters.blocks import load_presets, parse_weights

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

ONES = ",".join("1" * 17)
GP1 = "1,0.6,0.9,0.9,0.9,0.6,0.5,0.4,0.4,0.6,0.8,1,1.1,1.1,1.1,1.1,1.1"


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


class Panel:
    """The tab in the words of its user."""

    def __init__(self, page: Page):
        self.page = page

    def field(self, name: str):
        return self.page.locator(f"#lw_blocks_{name} textarea, #lw_blocks_{name} input").first

    def text_is(self, text: str) -> None:
        self.page.wait_for_function(
            "text => document.querySelector('#lw_blocks_vector textarea, #lw_blocks_vector input').value === text",
            arg=text,
        )

    def slider_is(self, block: str, value: float) -> None:
        self.page.wait_for_function(
            "([block, value]) => Number(document.querySelector(`[data-lw-block=${block}]`)?.value) === value",
            arg=[block, value],
        )

    def move(self, block: str, value: float) -> None:
        self.page.locator(f"[data-lw-block={block}]").fill(str(value))

    def write(self, text: str) -> None:
        self.field("vector").fill(text)
        self.field("vector").blur()

    def click(self, name: str) -> None:
        self.page.locator(f"#lw_blocks_{name}").click()

    def sees(self, name: str, text: str) -> None:
        self.page.locator(f"#lw_blocks_{name}").filter(has_text=text).first.wait_for()

    def can(self, name: str) -> None:
        self.page.wait_for_function("id => !document.querySelector('#lw_blocks_' + id).disabled", arg=name)

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f"input[name=lw_blocks_{name}][value='{value}']").check()


def test_blocks_tab(lora: Path, page: Page, workbench: Workbench, tmp_path: Path) -> None:
    panel = Panel(page)
    page.get_by_role("tab", name="Blocks", exact=True).click()
    panel.text_is(ONES)
    panel.sees("about", "LoRA · SD1 or SD2 · rank 2 · 17 blocks")
    sliders_text_preset(panel)
    kinds_links_solo(panel)
    symptom_and_undo(panel)
    presets_of_ones_own(panel, workbench)
    scan(panel, workbench)
    page.screenshot(path=tmp_path / "blocks.png", full_page=True)
    save(panel, workbench)
    carry_to_merge(panel)


def sliders_text_preset(panel: Panel) -> None:
    panel.page.locator("#lw_blocks_preset input").click()
    panel.page.get_by_role("option", name="GP1", exact=True).click()
    panel.text_is(GP1)
    panel.slider_is("M00", 0.4)
    panel.move("M00", 0.75)
    panel.text_is(GP1.replace("0.5,0.4,0.4", "0.5,0.75,0.4"))
    panel.sees("tag", "0.5,0.75,0.4")
    panel.write("te=0.5,OUT11=0")
    panel.text_is(f"0.5{',1' * 15},0")
    panel.slider_is("BASE", 0.5)
    panel.slider_is("OUT11", 0)
    panel.write("1,2,3")
    panel.sees("message", "3 block weights were given")
    panel.write("ALL")
    panel.text_is(ONES)
    panel.page.locator("[data-lw-group=OUT][data-lw-value='0.5']").click()
    panel.text_is(",".join([*"1" * 8, *["0.5"] * 9]))


def kinds_links_solo(panel: Panel) -> None:
    panel.write("ALL")
    panel.text_is(ONES)
    panel.choose("scope", "attn")
    panel.move("IN04", 0.5)
    panel.text_is(f"{ONES},IN04.attn=0.5")
    panel.choose("scope", "")
    panel.slider_is("IN04", 1)
    panel.choose("link", "group")
    panel.move("IN01", 0.8)
    panel.text_is(f"1{',0.8' * 6}{',1' * 10},IN04.attn=0.5")
    panel.choose("link", "")
    panel.page.locator("[data-lw-solo=M00]").click()
    panel.text_is(f"{'0,' * 7}1{',0' * 9}")
    panel.page.locator("[data-lw-solo=M00]").click()
    panel.text_is(f"1{',0.8' * 6}{',1' * 10},IN04.attn=0.5")
    panel.write("ALL")
    panel.text_is(ONES)
    for wanted in (f"0{',1' * 16}", ONES):
        panel.page.locator("[data-lw-mute=BASE]").click()
        panel.text_is(wanted)


def symptom_and_undo(panel: Panel) -> None:
    panel.click("symptom_clothing")
    panel.sees("proposal", "IN04")
    panel.text_is(ONES)  # nothing is changed before it is said
    panel.click("symptom_do")
    panel.text_is(f"1,1,0.9,0.9,0.9{',1' * 12}")
    panel.slider_is("IN04", 0.9)
    panel.can("undo")
    panel.click("undo")
    panel.text_is(ONES)
    panel.slider_is("IN04", 1)
    panel.can("redo")
    panel.click("redo")
    panel.text_is(f"1,1,0.9,0.9,0.9{',1' * 12}")
    panel.page.reload()
    panel.page.get_by_role("tab", name="Blocks", exact=True).click()
    panel.text_is(f"1,1,0.9,0.9,0.9{',1' * 12}")  # a reload loses nothing
    panel.click("symptom_chaotic")
    panel.sees("proposal", "IN05")
    panel.click("symptom_more")
    panel.sees("proposal", "whole LoRA")
    panel.click("symptom_do")
    panel.page.wait_for_function("document.querySelector('#lw_blocks_scale input').value === '0.8'")


def presets_of_ones_own(panel: Panel, workbench: Workbench) -> None:
    panel.page.get_by_role("button", name="Scale a range, presets").click()
    panel.field("factor").fill("0.5")
    panel.field("factor").blur()
    panel.click("scale_range")
    panel.text_is(f"1,1,0.9,0.9,0.9,1,1,1{',0.5' * 9}")
    panel.field("preset_name").fill("SOFT")
    panel.click("preset_save")
    panel.sees("more_message", "Saved")
    saved = load_presets(workbench.host.paths.data / "block_presets.txt")["SOFT"]
    assert saved == f"1,1,0.9,0.9,0.9,1,1,1{',0.5' * 9}"
    panel.click("preset_save")
    panel.sees("more_message", "already")


def scan(panel: Panel, workbench: Workbench) -> None:
    panel.page.get_by_role("button", name="Block preview: size, steps and sampler").click()
    panel.field("steps").fill("2")
    panel.field("steps").blur()
    panel.page.get_by_role("button", name="Strength of each block").click()
    panel.field("scan_seeds").fill("1")
    panel.field("scan_seeds").blur()
    panel.sees("scan_plan", "5 pictures")
    panel.click("scan")
    panel.page.locator("#lw_blocks_scan_result tbody tr").first.wait_for()
    assert panel.page.locator("#lw_blocks_scan_result tbody tr").count() == 3
    panel.page.locator("#lw_blocks_scan_result th button", has_text="layers").click()
    cells = panel.page.locator("#lw_blocks_scan_result tbody td:nth-child(2)").all_inner_texts()
    assert list(map(int, cells)) == sorted(map(int, cells), reverse=True)
    assert (workbench.host.paths.data / "block-scans" / "mira.csv").read_text(encoding="utf-8").startswith("block,")
    panel.click("preview")
    panel.page.wait_for_function("document.querySelector('#lw_blocks_result img.lw-after')?.naturalWidth == 64")


def save(panel: Panel, workbench: Workbench) -> None:
    panel.write("ALL0.5,te=0")
    panel.text_is(f"0{',0.5' * 16}")
    panel.click("save")
    panel.sees("saved", "Saved mira-tuned.safetensors")
    tuned = read_lora(workbench.lora_path("mira-tuned"))
    assert not any(key.startswith("lora_te") for key in tuned.modules)
    recorded = tuned.metadata["merge_formula"]
    assert recorded.startswith("mira:0.8:")
    assert parse_weights(recorded.partition(":0.8:")[2], {})["OUT11"] == 0.5


def carry_to_merge(panel: Panel) -> None:
    panel.click("merge")
    field = "document.querySelector('#lw_merge_formula textarea, #lw_merge_formula input').value"
    panel.page.wait_for_function(f"{field} == 'mira:0.8:0{',0.5' * 16}'")
    panel.page.locator("#lw_merge_calculate").wait_for()
