"""Subtracting a base style: what the form says before it begins, and what it asks for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch

from lib_lora.adapters.block_presets import save_presets
from lib_lora.adapters.file import write_lora
from lib_lora.adapters.merged import Merged, MergeReport
from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import MergedJob
from lib_lora.jobs.views import DONE, MergeView
from lib_lora.models.base import HostPaths
from lib_lora.tools.merge import Reduction
from lib_lora.ui.base_style_panel import STRENGTHS
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import FIELDS
from lib_lora.ui.merge_tab import MergeTab
from lib_lora.workbench import Workbench

KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
USUAL, STRONG = STRENGTHS


@pytest.fixture
def tab(tmp_path: Path) -> MergeTab:
    paths = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data")))
    lists = {"checkpoints": [], "samplers": ["Euler"], "taggers": []}
    host = SimpleNamespace(
        paths=paths, info=lambda: None, literal=str, **{name: (lambda v=v: v) for name, v in lists.items()}
    )
    layer = {"lora_up.weight": torch.ones(320, 2), "lora_down.weight": torch.ones(2, 320), "alpha": torch.tensor(2.0)}
    about = {"ss_sd_model_name": "one", "modelspec.trigger_phrase": "in oil", "modelspec.resolution": "768x512"}
    write_lora(paths.loras / "style.safetensors", {KEY: layer}, about)
    write_lora(paths.loras / "BASE.safetensors", {KEY: layer}, {"ss_sd_model_name": "one"})
    write_lora(paths.loras / "far.safetensors", {KEY: layer}, {"ss_sd_model_name": "two"})
    tab = MergeTab(Workbench(host), Pictures(paths))
    with gr.Blocks():
        tab.build()
    return tab


def test_what_cannot_work_is_said_at_once(tab: MergeTab) -> None:
    check = tab.style.check
    assert check(None, "BASE", USUAL) == check("style", None, USUAL) == ["", ""]
    said, formula = check("style", "BASE", STRONG)
    assert said == "" and "style:1:GP1_STRONG,BASE:-1:GP2_STRONG" in formula
    assert "base style is of another checkpoint" in check("style", "far", USUAL)[0]
    with pytest.raises(UserError, match="nothing would be left"):
        check("style", "style", USUAL)


def test_a_family_without_such_weights_is_subtracted_whole(tab: MergeTab) -> None:
    """SDXL has them, Flux has other blocks; a user who has made some for Flux gets those."""
    loras = tab.result.workbench.host.paths.loras
    layer = {"lora_up.weight": torch.ones(640, 2), "lora_down.weight": torch.ones(2, 640), "alpha": torch.tensor(2.0)}
    for name, key in (
        ("xl", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"),
        ("flux", "lora_unet_double_blocks_0_img_attn_qkv"),
    ):
        write_lora(loras / f"{name}.safetensors", {key: layer}, {})
        write_lora(loras / f"{name}-base.safetensors", {key: layer}, {})
    assert tab.style.check("xl", "xl-base", STRONG)[0] == ""
    assert "xl is for Stable Diffusion XL, flux for" in tab.style.check("xl", "flux", USUAL)[0]
    said, formula = tab.style.check("flux", "flux-base", USUAL)
    assert said == "" and "flux:1,flux-base:-1<" in formula and "no such block weights for Flux.1" in formula
    assert "no such block weights" not in tab.style.check("xl", "xl-base", STRONG)[1]
    presets = tab.result.workbench.host.paths.places.block_presets
    save_presets(presets, {name: ",".join(f"0.{n % 9}" for n in range(61)) for name in ("GP1", "GP2")})
    assert "flux:1:GP1,flux-base:-1:GP2" in tab.style.check("flux", "flux-base", USUAL)[1]
    assert "flux:1,flux-base:-1<" in tab.style.check("flux", "flux-base", STRONG)[1]


def test_one_button_asks_for_the_merge_and_its_pictures(tab: MergeTab, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, sent = tab.result.workbench.queue, []
    monkeypatch.setattr(queue, "submit", lambda job: sent.append(job) or len(sent))
    values = dict.fromkeys(FIELDS, 1) | {"negative": "", "sampler": "Euler", "width": 64, "height": 64, "cfg": 7}
    message, prompt, *sizes = tab.style.start("style", "BASE", USUAL, "", 3, *values.values())
    merge, preview = sent
    assert (message, prompt) == ("", "in oil") and merge.formula == "style:1:GP1,BASE:-1:GP2"
    assert merge.name == "style-clean" and preview.merged is merge and preview.alone.stem == "style"
    request = preview.request
    assert (request.prompt, request.seed, request.width, request.height) == ("in oil", 3, 768, 512)
    assert sizes[1]["value"] == 768
    with pytest.raises(UserError, match="seed is empty"):
        tab.style.start("style", "BASE", USUAL, "mine", None, *values.values())
    assert len(sent) == 2


def test_what_the_fields_no_longer_say_is_not_saved(tab: MergeTab) -> None:
    """Calculate, change the weight, save: the file had the earlier weight."""
    result, loras = tab.result, tab.result.workbench.host.paths.loras
    fields = dict.fromkeys(("formula", "base", "rank", "energy", "program"), "")
    result._counts = {"formula": len(fields)}
    asked = fields | {"formula": "style:1,BASE:-0.5"}
    merged = Merged(
        {KEY: {"lora_up.weight": torch.ones(4, 1), "lora_down.weight": torch.ones(1, 4)}}, MergeReport(), 1, {}
    )
    job = MergeView(7, MergedJob.kind, asked["formula"], DONE, 1, 1, "", 0.0, None, None, "",
                    name="x", reduction=Reduction(), curve=(1.0,), merged=merged)  # fmt: skip
    result.workbench.queue.jobs = lambda: [job]
    result.workbench.host.refresh_loras = list
    result.remember(job.id, "formula", *asked.values())
    for name, other in (("formula", "style:1,BASE:-1"), ("rank", "4"), ("base", "tiny"), ("program", "Forge")):
        changed = asked | {name: other}
        with pytest.raises(UserError, match="changed after this was calculated") as error:
            result.save_merge("new", "float32", "", *changed.values())
        assert error.value.fix == "Press Calculate again" and not (loras / "new.safetensors").exists()
        shown = result.now(job.id, *changed.values())
        assert (
            "no longer what the fields say" in shown[2] and not shown[6]["interactive"] and not shown[7]["interactive"]
        )
    shown = result.now(job.id, *asked.values())
    assert "no longer" not in shown[2] and shown[6]["interactive"] and shown[7]["interactive"]
    assert "Saved new.safetensors: style:1,BASE:-0.5" in result.save_merge("new", "float32", "", *asked.values())


def test_rows_and_a_missing_base(tab: MergeTab) -> None:
    tab.style._fill = tab.formula.fill_rows
    message, formula, *_, ways = tab.style.to_rows("style", "BASE", USUAL, 2)
    assert (message, formula, ways["selected"]) == ("", "style:1:GP1,BASE:-1:GP2", "formula")
    with pytest.raises(UserError, match="No base style is chosen"):
        tab.style.to_rows("style", None, USUAL, 2)
    assert tab.suggest("", "style:1") == "in oil" and tab.suggest("mine", "style:1") == "mine"
