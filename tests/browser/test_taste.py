"""Tune by taste with the keyboard: answers, a reload in the middle, undo, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec, write_lora
from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

ONES = ",".join("1" * 17)
READY = "#lw_taste_question button[data-lw-key='1']:not([disabled])"


@pytest.fixture
def lora(workbench: Workbench) -> Path:
    """A random LoRA of the text encoder, the middle and the way out."""
    with workbench.host.training_session() as model:
        spec = NetworkSpec(rank=1, alpha=1, layers="mid_block|up_blocks_._attentions|te_.*_mlp")
        network = Network.create(model.layers(), spec, 0)
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    metadata = {"ss_network_dim": "1", "ss_resolution": "(64, 64)"}
    return write_lora(workbench.host.paths.loras / "mira.safetensors", network.modules(), metadata)


class TasteDesk(Desk):
    """The fold in the words of its user."""

    def asked(self, number: int) -> None:
        """Wait until question ``number`` can be answered."""
        self.sees("#lw_taste_question b", f"Question {number}")
        self.page.locator(READY).wait_for()


def test_tune_by_taste(lora: Path, page: Page, tmp_path: Path) -> None:
    desk = TasteDesk(page, tmp_path / "pictures")
    desk.tab("Blocks")
    desk.sees_value("lw_blocks_vector", ONES)
    desk.open("Block preview: size, steps and sampler")
    desk.type("lw_blocks_steps", "1")
    desk.open("Tune by taste")
    desk.type("lw_taste_prompts", "1girl\n1boy")
    desk.type("lw_taste_locked", "OUT03")
    desk.click("lw_taste_start")
    desk.asked(1)
    desk.sees_picture("#lw_taste_question img", 64, 8)  # four on each side
    desk.type("lw_taste_seeds", "3")  # a digit that is typed answers nothing
    desk.sees("#lw_taste_question", "0 answers")
    desk.page.locator("#lw_taste_question").click()
    desk.page.keyboard.press("1")
    desk.asked(2)
    desk.page.keyboard.press("0")
    desk.asked(3)
    desk.page.reload()
    desk.tab("Blocks")
    desk.open("Tune by taste")
    desk.asked(3)  # a reload loses nothing
    desk.click("lw_taste_undo")
    desk.asked(2)
    desk.page.locator("#lw_taste_question button[data-lw-key='2']").click()
    desk.asked(3)
    desk.sees("#lw_taste_question", "sure that it is better")
    desk.photograph("taste")
    desk.click("lw_taste_take")
    desk.says("lw_taste_message", "Taken over")
    page.wait_for_function("(ones) => document.querySelector('#lw_blocks_vector textarea, #lw_blocks_vector input')"
                           ".value !== ones", arg=ONES)  # fmt: skip
    weights = desk.read("lw_blocks_vector").split(",")
    assert len(weights) == 17 and weights[8] == "1"  # OUT03 was locked
    desk.click("lw_blocks_undo")
    desk.sees_value("lw_blocks_vector", ONES)
    desk.click("lw_taste_merge")
    page.wait_for_function("document.querySelector('#lw_merge_formula textarea, #lw_merge_formula input')"
                           "?.value.startsWith('mira:')")  # fmt: skip
