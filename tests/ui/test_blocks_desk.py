from __future__ import annotations

import re
from html import escape
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from PIL import Image

from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.adapters.blocks import BLOCKS_12, BLOCKS_17
from lib_lora.adapters.file import read_lora, to_delta, write_lora
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest, HostPaths
from lib_lora.tools.block_strength import BlockScan, BlockStrength
from lib_lora.tools.prompt_loras import split_prompt
from lib_lora.tools.symptoms import STYLE
from lib_lora.ui import blocks_view as view
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.blocks_stage import Look, Stage
from lib_lora.ui.blocks_tab import BlocksTab
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import FIELDS
from lib_lora.ui.merge_fields import LOADED
from lib_lora.workbench import LoraEntry, Workbench

SD = ("lora_unet_mid_block_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0_mlp_fc1")
SDXL = ("lora_unet_input_blocks_4_1_proj_in", "lora_te2_text_model_encoder_layers_0_mlp_fc1")


class Shelf:
    """The part of a workbench that the desk needs."""

    def __init__(self, folder: Path):
        self.host = self
        self.paths = HostPaths(folder, folder, folder, folder)

    def list_loras(self) -> list[LoraEntry]:
        return [LoraEntry(path.stem, path) for path in self.paths.loras.glob("*.safetensors")]


@pytest.fixture
def desk(tmp_path: Path) -> BlocksDesk:
    for name, keys in (("mira", SD), ("big", SDXL)):
        modules = {k: {"lora_up.weight": torch.ones(4, 2), "lora_down.weight": torch.ones(2, 4)} for k in keys}
        write_lora(tmp_path / f"{name}.safetensors", modules, {})
    return BlocksDesk(Shelf(tmp_path))


def test_layout_follows_the_file(desk: BlocksDesk) -> None:
    assert desk.shape("mira").layout == BLOCKS_17
    assert desk.shape("mira").present == {"BASE", "M00"}
    assert (desk.shape("big").family.name, desk.shape("big").layout) == ("sdxl", BLOCKS_12)
    with pytest.raises(UserError, match="Choose a LoRA"):
        desk.shape("none")


def test_text_preset_and_undo(desk: BlocksDesk) -> None:
    assert desk.text("mira") == ",".join("1" * 17)
    desk.set("mira", "GP1")
    desk.set("mira", "GP1,M00.attn=0.5")
    assert desk.text("mira").endswith("1.1,M00.attn=0.5")
    assert desk.text("big") == ",".join("1" * 12)
    desk.undo("mira")
    assert desk.tidy("mira", "GP1") == desk.text("mira")
    desk.redo("mira")
    assert "M00.attn=0.5" in desk.text("mira")
    with pytest.raises(UserError, match="another family"):
        desk.set("big", "1," * 16 + "0")
    assert desk.text("big") == ",".join("1" * 12)


def test_the_preset_follows_the_weights(desk: BlocksDesk) -> None:
    assert desk.preset("mira") == desk.preset("big") == "ALL"
    desk.set("mira", "GP1")
    assert desk.preset("mira") == "GP1"
    desk.scale("mira", "OUT03", "OUT11", 0.5)
    assert desk.preset("mira") is None
    desk.undo("mira")
    assert desk.preset("mira") == "GP1" and desk.preset("big") == "ALL"
    desk.save_preset("mira", "twin", False)
    desk.set("mira", "twin")
    assert desk.preset("mira") == "twin"


def test_ranges_symptoms_and_presets(desk: BlocksDesk) -> None:
    desk.scale("mira", "OUT03", "OUT11", 0.5)
    assert desk.text("mira") == ",".join([*"1" * 8, *["0.5"] * 9])
    found = desk.proposal("mira", "clothing", 0, 1.0, STYLE)
    assert set(found.changes) == {"IN02", "IN04", "IN05"}  # blocks without a slider are not shown
    desk.apply("mira", found)
    assert desk.text("mira").startswith("1,1,0.9,0.9,0.9,1,")
    desk.save_preset("mira", " soft ", False)
    desk.set("mira", "ALL")
    desk.set("mira", "soft")
    assert desk.text("mira").startswith("1,1,0.9,0.9,0.9,1,")
    with pytest.raises(UserError, match="already"):
        desk.save_preset("mira", "soft", False)
    assert "NEW" in desk.import_presets("NEW:" + ",".join("1" * 26) + "\nBAD:1,2", False)
    assert "NEW" in desk.presets()
    with pytest.raises(UserError, match="no preset"):
        desk.import_presets("hello", False)


def test_sliders_say_which_blocks_are_missing(desk: BlocksDesk) -> None:
    shown = view.sliders(desk.shape("mira"))
    assert re.findall(r'data-lw-block="(\w+)"', shown) == list(BLOCKS_17)
    assert shown.count("lw-absent") == 15
    assert "12 blocks" in view.about(desk.entry("big"), desk.shape("big"))


def test_a_proposal_and_a_scan_in_words(desk: BlocksDesk) -> None:
    found = desk.proposal("mira", "style", 1, 1.0, STYLE)
    shown = view.proposal(found, "Style too weak", STYLE)
    assert "<td>OUT07</td><td>1</td><td>1.1</td>" in shown
    assert "In the base-style LoRA that is subtracted: raise OUT07 to OUT11" in shown
    rows = (
        BlockStrength("M00", 3, (0.2, 0.4), (0.1, 0.1), 0.1, 0.9),
        BlockStrength("BASE", 1, (0.8, 0.6), (0, 0), 0.9, 0.1),
    )
    shown = view.strength(BlockScan("mira", (1, 2), rows), {"": "whole.png", "BASE": "base.png"}, "<x>.csv")
    assert shown.index("BASE</td>") < shown.index("M00</td>")
    assert "70.0% ± 10.0%" in shown
    assert "texture), 60% of it: BASE." in shown
    assert "(shapes): M00." in shown
    assert "&lt;x&gt;.csv" in shown


def test_the_tag_for_txt2img_says_what_the_sliders_say(desk: BlocksDesk) -> None:
    assert desk.tag("mira", 0.8) == "<lora:mira:0.8>"
    desk.set("mira", "GP1,M00.attn=0.5")
    rest, (found,) = split_prompt(f"1girl {desk.tag('mira', 1)}")
    assert rest == "1girl " and found.name == "mira" and found.unet_weight(0, 1) == 1
    assert desk.parsed("mira", found.blocks) == desk.weights("mira")
    shown = view.prompt(desk.prompt("mira", 1), desk.tag("mira", 1))
    assert f'data-lw-send="{escape(desk.tag("mira", 1))}" data-lw-behind="lw_blocks_prompt"' in shown


def test_a_preview_is_shown_with_its_own_lora_only(desk: BlocksDesk, tmp_path: Path) -> None:
    desk.workbench.queue = SimpleNamespace(jobs=list)
    desk.workbench.info = lambda: None
    stage = Stage(desk, Pictures(desk.workbench.paths))
    look = Look(GenerationRequest("1girl", steps=2), 1.0)
    stage.looks["mira"] = stage.looks["big"] = look
    stage.states["mira"] = [desk.text("mira")]
    drawn = stage._places("mira").of(desk.text("mira"), look.request)
    drawn.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(drawn)
    assert "<figcaption><b>mira</b>" in stage.now("mira")[2]
    for other in ("big", None):
        assert "<img" not in stage.now(other)[2]


def test_a_preview_starts_as_the_lora_was_trained(desk: BlocksDesk) -> None:
    """The clip skip of a file was not looked at: the preview was another picture than the grid's and the prompt's."""
    stage = Stage(desk, Pictures(desk.workbench.paths))
    desk.workbench.host = SimpleNamespace(samplers=lambda: ["Euler"], info=lambda: None)
    with gr.Blocks():
        stage.generation.build(desk.workbench.host)
    for metadata in (
        {"ss_resolution": "(768, 640)"},
        {"ss_resolution": "(512, 512)", "modelspec.resolution": "768x640"},
    ):
        _, *filled = stage.filled(SimpleNamespace(metadata={**metadata, "ss_clip_skip": "2"}))
        updates = dict(zip(FIELDS, filled, strict=True))
        assert [updates[name]["value"] for name in ("width", "height", "clip_skip")] == [768, 640, 2]
    assert stage.filled(SimpleNamespace(metadata={})) == [SKIP] * (1 + len(FIELDS))


def test_save_builds_the_block_weights_into_a_dora(tiny_host, tmp_path: Path) -> None:
    """The change of a DoRA depends on the weights that it acts on: the field beside *Save* says which."""
    weights = CheckpointWeights(tiny_host.checkpoint_path(tiny_host.checkpoints()[0]))
    key = next(key for key in weights if key.endswith("_attn1_to_q"))
    rows, columns = weights[key].shape
    params = {"lora_up.weight": torch.randn(rows, 2), "lora_down.weight": torch.randn(2, columns)}
    params["dora_scale"] = 1 + torch.rand(1, columns)
    write_lora(tiny_host.paths.loras / "dora.safetensors", {key: params}, {})
    workbench = Workbench(tiny_host)
    tab = BlocksTab(workbench, Pictures(tiny_host.paths))
    half = ",".join(["0.5"] * len(tab.desk.shape("dora").layout))
    for base in (tiny_host.checkpoints()[0], LOADED):
        name = f"dora-{base == LOADED}"
        assert f"Saved {name}.safetensors" in tab.save_tuned("dora", half, 1.0, name, base)
        saved = read_lora(tiny_host.paths.loras / f"{name}.safetensors").modules[key]
        want = 0.5 * to_delta(params, weights[key].float()).dense()
        assert torch.allclose(to_delta(saved).dense(), want, atol=2e-3) and want.abs().max() > 0.1
