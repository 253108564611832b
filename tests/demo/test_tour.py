"""The tour in miniature: random weights and few pictures; whether anything is learned is for the real one to show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from lib_lora.adapters.file import read_metadata
from lib_lora.demo.judge import Judge, Reading
from lib_lora.demo.judge.network import JudgeNetwork
from lib_lora.demo.tour import tour as the_tour
from lib_lora.demo.tour.datasets import character_caption, character_specs, style_caption, style_specs, write_dataset
from lib_lora.demo.tour.report import table
from lib_lora.demo.tour.scores import character_scores
from lib_lora.demo.tour.tour import Amounts
from lib_lora.demo.world import MIRA

FAST = (("epochs", 2), ("rank", 2), ("resolution", 64), ("bucket_min", 64), ("fixed_loss_images", 2))
FEW = Amounts(3, 2, FAST, FAST, weights=(0.0, 1.0), seeds=2, styled=2)
PICTURES = ("tour-training-set.png", "tour-epoch-grid.png", "tour-merge.png")


def test_captions_leave_the_characters_features_to_the_trigger():
    for spec in character_specs(24):
        caption = character_caption(spec)
        assert spec.characters[0].hair == MIRA.hair
        assert not [word for word in ("aqua", "twintails", "red eyes", "yellow dress", "hat") if word in caption]
        assert "1girl" in caption and spec.view in caption
    assert all("neon" not in style_caption(spec) for spec in style_specs("neon", 8))


def test_the_character_appears_in_many_views_and_places():
    specs = character_specs(24)
    assert len({spec.view for spec in specs}) == 3
    assert len({spec.background for spec in specs}) > 5


def test_write_dataset_keeps_what_is_there(tmp_path):
    specs = style_specs("neon", 2)
    write_dataset(tmp_path, specs, ["a", "b"])
    (tmp_path / "01.txt").write_text("edited", encoding="utf-8")
    write_dataset(tmp_path, specs, ["a", "b"])
    assert (tmp_path / "01.txt").read_text(encoding="utf-8") == "edited"
    assert Image.open(tmp_path / "02.png").size == specs[1].size


def test_all_three_counts_pictures_that_show_all_of_them():
    class Told:
        def read(self, images):
            return images

    readings = [
        Reading("aqua", "witch hat", "red", "yellow", "white", "1", "anime"),
        Reading("aqua", "none", "none", "yellow", "white", "1", "anime"),
        Reading("red", "witch hat", "red", "blue", "white", "1", "anime"),
        Reading("red", "none", "none", "blue", "white", "1", "anime"),
    ]
    scores = character_scores(Told(), readings)
    assert scores == {"aqua hair": 0.5, "witch hat": 0.5, "yellow dress": 0.5, "all three": 0.25, "n": 4}
    assert table({"a": scores, "b": scores}).splitlines()[-1] == "| all three | 25% | 25% |"


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return Judge(JudgeNetwork())


def test_a_tour_writes_everything_and_a_second_start_repeats_nothing(tiny_host, judge, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(the_tour, "PICTURE", replace(the_tour.PICTURE, width=64, height=64, steps=1))
    output = tmp_path / "docs"
    result = the_tour.run(tiny_host, output, FEW, judge)
    assert json.loads((output / "tour.json").read_text(encoding="utf-8"))["chosen_epoch"] == result["chosen_epoch"]
    assert set(result["character"]) == {"base model", f"epoch {result['chosen_epoch']}"}
    assert set(result["style"]) == {"base model", "STYLE", "STYLE - BASE"}
    text = (output / "tour.md").read_text(encoding="utf-8")
    assert all(name in text and (output / name).exists() for name in PICTURES)
    assert "training mira: 2 of 2" in capsys.readouterr().out
    merged = read_metadata(tiny_host.paths.loras / "STYLE-BASE.safetensors")
    assert merged["merge_formula"] == "STYLE:1:GP1,BASE:-1:GP2"

    monkeypatch.setattr(tiny_host, "generate", None)  # a second start may not need it
    before = {path: path.stat().st_mtime_ns for path in tiny_host.paths.loras.iterdir()}
    again = the_tour.run(tiny_host, output, FEW, judge)
    assert {path: path.stat().st_mtime_ns for path in tiny_host.paths.loras.iterdir()} == before
    assert {**again, "seconds": 0, "total_seconds": 0} == {**result, "seconds": 0, "total_seconds": 0}
    assert again["seconds"]["training mira"] == result["seconds"]["training mira"]
