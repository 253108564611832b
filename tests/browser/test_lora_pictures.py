"""Beside each list of LoRAs in Blocks and Merge stands a picture of the chosen one, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser.desk import Desk
from tests.browser.loras import random_lora

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

LISTS = {
    "Subtract": "lw_style_style",
    "Formula": "lw_merge_lora_2",
    "Resize": "lw_resize_lora",
    "Base style": "lw_base_style",
}


@pytest.fixture
def loras(workbench: Workbench) -> None:
    """One with a picture beside it, one with a damaged one, and one without."""
    Image.new("RGB", (80, 40), "seagreen").save(random_lora(workbench, "hat", 1).with_suffix(".preview.png"))
    random_lora(workbench, "torn", 2).with_suffix(".png").write_bytes(b"\x89PNG")
    random_lora(workbench, "bare", 3)


def test_picture_of_the_chosen_lora(loras: None, page: Page, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    desk.tab("Blocks")
    shows(desk, "lw_blocks_lora")
    desk.tab("Merge")
    for way, field in LISTS.items():
        desk.tab(way)
        shows(desk, field)
    desk.photograph("merge")


def shows(desk: Desk, field: str) -> None:
    """Choosing a LoRA shows its picture, which a click enlarges; choosing one without shows none, nor a broken one."""
    around = desk.page.locator(".lw-lora-pick").filter(has=desk.page.locator(f"#{field}"))
    preview = around.get_by_role("button", name="Preview of")
    desk.pick(field, "hat")
    desk.sees_picture(f"#{field}_picture img", 80)
    assert preview.get_attribute("alt") == "Preview of hat"
    for other in ("torn", "bare"):
        with desk.page.expect_response(lambda answer, name=other: f"/preview/{name}" in answer.url):
            desk.pick(field, other)
        desk.page.wait_for_function(f"!document.querySelector('#{field}_picture img')")
        assert not preview.is_visible()
