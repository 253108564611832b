"""The Publish tab's handlers on LoRA files, as the page calls them, without a browser or a model."""

from __future__ import annotations

import io
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from lib_lora.access import Access, guarded, under
from lib_lora.adapters.file import write_lora
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths
from lib_lora.tools.inspection import Strengths
from lib_lora.tools.model_card import LICENCES
from lib_lora.tools.pictures import save_png
from lib_lora.training.config import TrainConfig
from lib_lora.ui import inspect_view as view
from lib_lora.ui.dataset.uploads import Uploads
from lib_lora.ui.files import Pictures
from lib_lora.ui.inspector import Measured
from lib_lora.ui.publish_tab import FOLDER, ZIP, PublishTab
from lib_lora.workbench import Workbench

KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.fixture
def tab(tmp_path: Path) -> PublishTab:
    """A run with three samples, two of the epoch that its LoRA was saved at, and a file of someone else's."""
    paths = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data")))
    bench = Workbench(SimpleNamespace(paths=paths, info=lambda: None))
    run = bench.runs.create(TrainConfig(name="mira"))
    for name in ("e000001_s1_00", "e000002_s2_00", "e000002_s2_01"):
        save_png(Image.new("RGB", (8, 8)), run.samples / f"{name}.png")
    layer = {"lora_up.weight": torch.ones(320, 2), "lora_down.weight": torch.ones(2, 320), "alpha": torch.tensor(2.0)}
    about = {"ss_session_id": str(run.record.session_id), "ss_epoch": "2", "modelspec.trigger_phrase": "mira <hat>"}
    write_lora(paths.loras / "mira.safetensors", {KEY: layer}, about)
    write_lora(paths.loras / "other.safetensors", {KEY: layer}, {})
    os.utime(paths.loras / "other.safetensors", (1e9, 1e9))  # else listed by name where one tick made both
    return PublishTab(bench, Pictures(paths))


def test_from_a_file_to_a_folder(tab: PublishTab) -> None:
    message, name, trigger, weight, description, picked, gallery = tab.fill("mira")
    assert (message, name, trigger, weight, description) == ("", "mira", "mira <hat>", 1.0, "")
    assert picked == ["e000002_s2_00.png", "e000002_s2_01.png"] and gallery.count("lw-choice-box") == 3
    _, picked, _ = tab.toggle("mira", "e000001_s1_00.png|17", picked)
    _, picked, gallery = tab.toggle("mira", "e000002_s2_00.png|18", picked)
    assert picked == ["e000002_s2_01.png", "e000001_s1_00.png"] and gallery.count('aria-pressed="true"') == 2
    said = tab.write("mira", " Mira ", trigger, 0.8, "", LICENCES["mit"], "", FOLDER, True, picked)
    made = tab.workbench.host.paths.places.published / "Mira"
    assert "Published Mira with 2 pictures" in said and (made / "images" / "02.png").is_file()
    assert "license: mit" in (made / "README.md").read_text(encoding="utf-8")
    said = tab.write("mira", "Mira", "", 1, "", LICENCES[""], "", ZIP, True, [])
    assert made.with_suffix(".zip").is_file() and "no licence yet" in said


def test_own_pictures_and_the_cover(tab: PublishTab) -> None:
    uploads = tab.brought.uploads = Uploads(tab.workbench.host.paths.places)

    def drop(*names: str) -> str:
        key = uploads.begin("pictures", "publish")
        for name in names:
            part = uploads.find(key).part()
            Image.new("RGB", (8, 8)).save(part, "PNG")
            assert uploads.find(key).wanted(name)
            uploads.put(key, name, part)
        return f"{key}|17"

    with pytest.raises(UserError, match="No LoRA is chosen"):
        tab.take(drop("own.png"), None, [])
    picked = tab.fill("mira")[5]
    brought = tab.workbench.host.paths.places.brought
    (old := brought / "old").mkdir()
    os.utime(old, (1, 1))
    message, _, picked, gallery = tab.take(drop("own.png", "two.jpg"), "mira", picked)
    assert not old.exists() and len(list(brought.iterdir())) == 1  # the pictures that no LoRA was chosen for
    assert "2 pictures added" in message and picked[-2:] == ["own.png", "two.jpg"] and "make it the cover" in gallery
    assert tab.take(drop("own.png"), "mira", [])[2] == ["own-2.png"]  # nothing is overwritten
    _, picked, _ = tab.toggle("mira", "cover:two.jpg|18", picked)
    assert picked[0] == "two.jpg" and len(picked) == 4
    tab.write("mira", "Mira", "", 1, "", LICENCES["mit"], "", FOLDER, True, picked)
    assert (tab.workbench.host.paths.places.published / "Mira" / "images" / "04.png").is_file()


def test_any_lora_file_by_its_path_or_dropped(tab: PublishTab, tmp_path: Path) -> None:
    elsewhere = tmp_path / "downloads" / "someone's.safetensors"
    elsewhere.parent.mkdir()
    shutil.copyfile(tab.workbench.lora_path("mira"), elsewhere)
    listed, head, *_ = tab.now(f'"{elsewhere}"')
    assert "someone" in head and "mira &lt;hat&gt;" in head and listed["choices"][-1] == f'"{elsewhere}"'
    assert tab.fill(str(elsewhere))[1] == "someone's"
    epoch = shutil.copyfile(elsewhere, elsewhere.with_name("rin-000005.safetensors"))
    assert tab.fill(str(epoch))[1] == "rin"
    with pytest.raises(UserError, match="no such file"):
        tab.fill(str(tmp_path / "none.safetensors"))
    with under(Access(hide_paths=True)), pytest.raises(UserError, match="may not be used from here"):
        guarded(tab.fill)(str(elsewhere))
    uploads = tab.brought.uploads = Uploads(tab.workbench.host.paths.places)
    key = uploads.begin("x", "publish")
    part = uploads.find(key).part()
    shutil.copyfile(elsewhere, part)
    uploads.put(key, "dropped.safetensors", part)
    shown = tab.take(f"{key}|1", None, [])[1]["value"]
    assert Path(shown).name == "dropped.safetensors" and "mira" in tab.now(shown)[1]


def test_mistakes_name_the_field(tab: PublishTab) -> None:
    fields = ("Mira", "", 1, "", LICENCES[""], "", FOLDER, True, [])
    with pytest.raises(UserError, match="No LoRA is chosen"):
        tab.write(None, *fields)
    with pytest.raises(UserError, match="weight is empty"):
        tab.write("mira", "Mira", "", None, *fields[3:])
    assert tab.fill(None)[1:5] == ["", "", 1.0, ""] and "no pictures" in tab.fill("other")[-1]


def test_the_figures_come_by_themselves(tab: PublishTab) -> None:
    listed, head, _, figures, about = tab.now("mira")
    assert listed["choices"] == ["mira", "other"] and "mira &lt;hat&gt;" in head and "AUTOMATIC1111" in about
    end = time.monotonic() + 60
    while "lw_inspect_blocks" not in figures and time.monotonic() < end:
        time.sleep(0.02)
        figures = tab.now("mira")[3]
    assert "M00" in figures and "Rank that is used, of 2" in figures
    assert "nothing about how it was trained" in tab.now("other")[2] and "Choose a LoRA" in tab.now("gone")[1]


def test_what_cannot_be_read_is_said(tab: PublishTab) -> None:
    path = tab.workbench.lora_path("other")
    path.write_bytes(path.read_bytes()[:100])
    assert "lw-error" in tab.now("other")[1]


def test_bars_of_a_file_that_does_nothing() -> None:
    assert "up to 0" in view.figures(Measured(found=Strengths(())))
    assert "measuring, 2 of 4 layers" in view.figures(Measured(2, 4))


def test_the_library_shows_every_lora_with_a_picture(tab: PublishTab) -> None:
    shown = tab.now(None)[1]
    assert (
        shown.count('class="lw-card"') == 2
        and 'data-lw-pick="other"' in shown
        and "lora_workbench/preview/mira?v=" in shown
    )
    assert tab.clicked("mira|17")[1]["value"] == "mira"
    small = Image.open(io.BytesIO(tab.pictures.preview("mira")))
    assert small.format == "JPEG" and tab.pictures.preview("other") is None and tab.pictures.preview("../mira") is None
    save_png(Image.new("RGB", (900, 600), "teal"), tab.workbench.lora_path("other").with_suffix(".preview.png"))
    assert Image.open(io.BytesIO(tab.pictures.preview("other"))).size == (256, 171)
