"""The pair experiment in miniature: random weights; who learns what is for the real model to show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from lib_lora.demo.judge import Judge, Reading
from lib_lora.demo.judge.network import JudgeNetwork
from lib_lora.demo.pair import Amounts, experiment, run, trio
from lib_lora.demo.pair.experiment import Places
from lib_lora.demo.pair.scores import pair_scores, parts, trio_scores
from lib_lora.demo.pair.subjects import FIGURE, HEIGHT, KIT, PAIR, RIN, TRIO, caption, specs
from lib_lora.demo.world import MIRA

FAST = (("rank", 2), ("resolution", 64), ("bucket_min", 32), ("fixed_loss_images", 0), ("batch_size", 8))


def reading(character=None) -> Reading:
    if character is None:
        return Reading("black", "none", "none", "black", "white", "1", "anime")
    return Reading(character.hair, character.hat, "none", character.top, "white", "1", "anime")


def test_captions_leave_the_characters_to_their_names():
    for spec in specs(RIN, 8, seed=1):
        text = caption("rin", spec)
        assert text.startswith("rin, 1girl")
        assert not [word for word in ("green hair", "kimono", "crown", "short hair") if word in text]


def test_a_picture_is_read_part_by_part():
    image = Image.new("RGB", (192, 128), "red")
    image.paste("blue", (96, 0, 192, 128))
    left, right = parts(image, 2)
    assert len(parts(image, 3)) == 3 and parts(image, 3)[2].getcolors() == right.getcolors()
    assert left.size == right.size == (128, 128)
    assert left.getcolors() == [(128 * 128, (255, 0, 0))] and right.getcolors() == [(128 * 128, (0, 0, 255))]


def test_scores_tell_places_clones_and_misses_apart():
    class Told:
        def read(self, images):
            rows = [(MIRA, RIN), (RIN, MIRA), (MIRA, MIRA), (None, RIN), (None, None)]
            return [reading(character) for row in rows for character in row]

    pictures = [Image.new("RGB", (4, 4))] * 5
    scores = pair_scores(Told(), pictures, [("mira", "rin")] * 5, PAIR)
    assert scores.pop("n") == 5
    assert scores.pop("halves with the right one") == 0.4
    assert len(scores) == 5 and all(share == 0.2 for share in scores.values())


def test_three_are_counted_by_their_places():
    class Told:
        def read(self, images):
            rows = [(MIRA, RIN, KIT), (RIN, MIRA, KIT), (MIRA, RIN, RIN), (None, None, None)]
            return [reading(character) for row in rows for character in row]

    scores = trio_scores(Told(), [Image.new("RGB", (6, 4))] * 4, [tuple(TRIO)] * 4, TRIO)
    assert scores["all three, in their places"] == scores["two of them in their places"] == 0.25
    assert scores["all three, anywhere"] == 0.5 and scores["none in its place"] == 0.25
    assert scores["thirds with the right one"] == 6 / 12 and scores["n"] == 4


def test_three_are_trained_drawn_and_written_down(tiny_host, tmp_path, monkeypatch):
    torch.manual_seed(0)
    for module in (experiment, trio):
        monkeypatch.setattr(module, "PICTURE", replace(experiment.PICTURE, steps=1))
    places = Places(steps=(1, 1), share=0.5, network=(("rank", 2), ("alpha", 2.0)))
    amounts = Amounts(singles=2, pictures=2, places=places, training=FAST)
    scores = trio.run(tiny_host, tmp_path / "docs", amounts, Judge(JudgeNetwork()))
    assert list(scores) == ["base model", "places first"]
    captions = [path.read_text(encoding="utf-8") for path in (tiny_host.paths.data / "trio").rglob("composite-*.txt")]
    assert captions and all(" middle, " in caption and "3girls" in caption for caption in captions)
    text = (tmp_path / "docs" / "trio.md").read_text(encoding="utf-8")
    assert "| all three, in their places |" in text and (tmp_path / "docs" / "trio.png").exists()
    assert json.loads((tmp_path / "docs" / "trio.json").read_text(encoding="utf-8")) == scores


def test_all_ways_are_trained_drawn_and_written_down(tiny_host, tmp_path, monkeypatch):
    torch.manual_seed(0)
    judge = Judge(JudgeNetwork())
    small = replace(experiment.PICTURE, steps=1)
    monkeypatch.setattr(experiment, "PICTURE", small)
    places = Places(steps=(1, 1), share=0.5, network=(("rank", 2), ("alpha", 2.0)))
    amounts = Amounts(singles=4, steps=2, pictures=2, places=places, training=FAST)
    scores = run(tiny_host, tmp_path / "docs", amounts, judge)
    assert list(scores) == ["base model", "singles only", "two stages", "joint", "places first"]
    assert all(0 <= score["alone"] <= 1 for score in scores.values())
    assert json.loads((tmp_path / "docs" / "pair.json").read_text(encoding="utf-8")) == scores
    text = (tmp_path / "docs" / "pair.md").read_text(encoding="utf-8")
    assert "| both, in their places |" in text and (tmp_path / "docs" / "pair.png").exists()
    files = {path: path.stat().st_mtime_ns for path in tiny_host.paths.loras.iterdir()}
    runs = ("singles", "first", "sequential", "joint", "places", "looks")
    assert {path.stem for path in files} >= {f"pair-{run}" for run in runs}
    assert run(tiny_host, tmp_path / "docs", amounts, judge) == scores
    assert {path: path.stat().st_mtime_ns for path in tiny_host.paths.loras.iterdir()} == files


@pytest.mark.parametrize(("amounts", "people"), [(Amounts(), len(PAIR)), (trio.AMOUNTS, len(TRIO))])
def test_pictures_of_all_are_trained_at_their_size(amounts, people):
    """A figure must be as large in them as alone, and as it will be drawn."""
    width, settings = FIGURE * people, {"bucket_max": 256, **dict(amounts.training)}
    assert settings["no_upscale"] and settings["bucket_max"] >= width
    assert settings["resolution"] ** 2 >= width * HEIGHT
    assert specs(MIRA, 1, seed=0)[0].size == (FIGURE, HEIGHT)
