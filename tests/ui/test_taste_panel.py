"""The panel of tuning by taste without a browser: what it asks, what it says, and what it hands on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_lora.adapters.file import write_lora
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths, ModelInfo
from lib_lora.tools.pictures import save_png
from lib_lora.tools.taste.preference import FIRST
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.blocks_stage import Stage
from lib_lora.ui.blocks_taste_panel import NONE, TastePanel
from lib_lora.ui.files import Pictures
from lib_lora.workbench import LoraEntry

KEYS = ("lora_unet_mid_block_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0_mlp_fc1")
GENERATION = ("", 64, 64, 4, 7.0, "Euler", 1)


class Shelf:
    """The part of a workbench that the panel needs; jobs are only counted."""

    def __init__(self, folder: Path):
        self.host = self.queue = self
        self.paths = HostPaths(folder, folder, folder, folder / "data")
        self.submitted: list[object] = []

    def list_loras(self) -> list[LoraEntry]:
        return [LoraEntry(path.stem, path) for path in sorted(self.paths.loras.glob("*.safetensors"))]

    def info(self) -> ModelInfo:
        return ModelInfo("model", None, "sd1", "epsilon", 8, 12)

    def submit(self, job: object) -> int:
        self.submitted.append(job)
        return len(self.submitted)

    def jobs(self) -> list[object]:
        return []


@pytest.fixture
def panel(tmp_path: Path) -> TastePanel:
    for name in ("style", "base"):
        modules = {k: {"lora_up.weight": torch.ones(4, 2), "lora_down.weight": torch.ones(2, 4)} for k in KEYS}
        write_lora(tmp_path / f"{name}.safetensors", modules, {})
    desk = BlocksDesk(Shelf(tmp_path))
    pictures = Pictures(desk.workbench.paths)
    panel = TastePanel(desk, pictures, Stage(desk, pictures))
    return panel


def begin(panel: TastePanel, base: str = NONE, prompts: str = "1girl\n1boy", locked: str = "") -> list:
    return panel.begin(
        "style", 0.8, prompts, "1, 2", "1", base, "GP2", locked, True, "preview", *GENERATION,
    )  # fmt: skip


def draw(panel: TastePanel) -> None:
    for job in panel.desk.workbench.submitted:
        for wanted in job.missing()[1]:
            save_png(Image.new("RGB", (8, 8)), wanted.path)


def test_answers_can_be_given_once_the_pictures_are_there(panel: TastePanel) -> None:
    assert panel.now("style")[0] == panel.now(None)[0] == ""
    shown = begin(panel)[1]
    assert shown.count(" disabled") == 3 and shown.count("lw-taste-missing") == 2
    assert "Its pictures are missing" in shown and 'data-lw-pick="draw"' in shown  # as no job is there
    panel.answered("style", "draw|122")
    assert len(panel.desk.workbench.submitted) == 2
    draw(panel)
    shown = panel.now("style")[0]
    assert " disabled" not in shown and shown.count("<img") == 2
    assert re.findall(r'data-lw-pick="(.*?)"', shown) == ["1:0", "0:0", "-1:0"]
    assert re.findall(r'data-lw-key="(.)"', shown) == ["1", "0", "2"]
    shown = panel.answered("style", "1:0|123")[1]
    assert "Question 2" in shown and "1 answer." in shown and "sure that it is better" in shown
    with pytest.raises(UserError, match="answered already"):
        panel.answered("style", "-1:0|124")
    assert "Question 1" in panel.take_back("style")[1]
    with pytest.raises(UserError, match="Nothing was answered"):
        panel.take_over(lambda *_: [], "style")


def test_the_best_goes_to_the_sliders_and_to_merge(panel: TastePanel) -> None:
    begin(panel, base="base")
    panel.answered("style", f"{FIRST}:0|1")
    recipe = panel._tuning("style").session().recipe
    assert recipe.blocks.startswith("1,0.6,0.9") and recipe.base == "base"  # GP1, as the base style is subtracted
    message, weight, *_ = panel.take_over(lambda name, weight: [name, weight], "style")
    (_, best, blocks), (_, subtracted, _) = panel._best("style")
    assert weight == best and panel.desk.weights("style")["M00"] == blocks["M00"] and "Merge takes both" in message
    panel.other = type("Merge", (), {"fill_rows": lambda self, formula, shown: ["", formula]})()
    formula = panel.use_in_merge("style", "", 2)[3]
    assert f"style:{best:g}:" in formula and f"base:{subtracted:g}:0.3,0.1" in formula


def test_what_cannot_work_is_said(panel: TastePanel) -> None:
    for wrong, message in (({"locked": "XX"}, "names no blocks"), ({"base": "gone"}, "no LoRA called")):
        with pytest.raises(UserError, match=message):
            begin(panel, **wrong)
    assert begin(panel, prompts=" ") and panel._tuning("style").session().recipe.prompts == ("preview",)
    panel._tuning("style").path.write_text("[", encoding="utf-8")
    assert "damaged" in panel.now("style")[0]
