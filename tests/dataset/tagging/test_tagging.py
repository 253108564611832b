from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tagging.choice import TagChoice, balanced_threshold, choose, mcut
from lib_lora.dataset.tagging.labels import Label, read_labels
from lib_lora.dataset.tagging.onnx_model import OnnxTagger
from lib_lora.dataset.tagging.run import chosen, plan_tagging, tag_pictures
from lib_lora.errors import UserError
from tests.dataset.tagging.models import SIDE, write_model


def plain(colour: str, size=(40, 20)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize(
    "form",
    [{}, {"batch": 1}, {"batch": 3}, {"first": True}, {"first": True, "batch": 1}, {"half": True}],
    ids=str,
)
def test_both_families_see_colours_alike(tmp_path, form):
    tagger = OnnxTagger(write_model(tmp_path / "wd", **form), TagChoice(rating=True))
    assert tagger.size == (SIDE, SIDE)
    assert tagger.tag([plain("red", (32, 32))]) == [("mira (world)", "red theme", "^_^", "general")]
    assert tagger.tag([plain("blue", (32, 32))]) == [("blue theme", "^_^", "general")]
    if not form.get("batch"):
        assert len(tagger.tag([plain("red"), plain("blue"), plain("red")])) == 3


def test_pictures_are_padded_with_white(tmp_path):
    tagger = OnnxTagger(write_model(tmp_path / "wd"))
    probabilities = tagger.probabilities([plain("black", (64, 32))])
    assert probabilities[0, 2] == pytest.approx(1 / (1 + np.exp(4 - 8 / 2)), abs=0.02)


def test_what_cannot_be_used_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"selected_tags\.csv"):
        OnnxTagger(tmp_path)
    folder = write_model(tmp_path / "wd")
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be opened"):
        OnnxTagger(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(UserError, match="no model here"):
        OnnxTagger(folder)
    write_model(folder)
    lines = (folder / "selected_tags.csv").read_text(encoding="utf-8").splitlines()
    (folder / "selected_tags.csv").write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(UserError, match="7 outputs, but its list has 6 tags"):
        OnnxTagger(folder).tag([plain("red")])
    (folder / "selected_tags.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        read_labels(folder)
    write_model(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="onnxruntime, which is not installed"):
        OnnxTagger(folder)


def test_another_form_of_the_mapping(tmp_path):
    table = {"idx_to_tag": {"1": "b", "0": "a", "10": "c"}, "tag_to_category": dict.fromkeys("abc", "General")}
    (tmp_path / "tag_mapping.json").write_text(json.dumps(table), encoding="utf-8")
    assert [label.name for label in read_labels(tmp_path).rows] == ["a", "b", "c"]


LABELS = tuple(
    Label(name, kind)
    for name, kind in [
        ("safe", "rating"),
        ("odd", "rating"),
        ("a_b", "general"),
        ("c", "general"),
        ("mira", "character"),
    ]
)


def test_choice_of_tags():
    values = np.array([0.2, 0.7, 0.4, 0.9, 0.8])
    assert choose(values, LABELS, TagChoice()) == ("c", "a b")
    assert choose(values, LABELS, TagChoice(character_threshold=0.5, rating=True)) == ("mira", "c", "a b", "odd")
    assert choose(values, LABELS, TagChoice(0.3, 2, exclude=("a b",))) == ("c",)
    assert choose(values, LABELS, TagChoice(underscores=True)) == ("c", "a_b")
    assert choose(values, LABELS, TagChoice(mcut=True, character_threshold=2)) == ("c",)


def test_mcut_cuts_at_the_largest_gap():
    assert mcut(np.array([0.9, 0.85, 0.3, 0.2])) == pytest.approx(0.575)
    assert mcut(np.array([0.9])) == mcut(np.array([])) == 1.0


def test_hints_by_model_name():
    assert balanced_threshold("SmilingWolf_wd-eva02-large-tagger-v3") == 0.5296
    assert balanced_threshold("wd-vit-tagger-v3") == 0.2614 and balanced_threshold("mine") is None


class Counting:
    """A tagger that counts its pictures and may break off."""

    batch_size = 2

    def __init__(self, key: str = "k"):
        self.key = key
        self.seen = 0

    def tag(self, images):
        self.seen += len(images)
        return [("new", f"{image.width} wide") for image in images]


def finished(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture
def editor(add_image, tmp_path):
    for number in range(5):
        add_image(f"{number}.png", (20 + number, 20), caption="old, new" if number == 0 else None)
    return DatasetEditor([tmp_path], tmp_path / ".cache")


def test_modes(editor, tmp_path):
    tagged = finished(tag_pictures(editor.pictures, Counting(), tmp_path / ".memory"))
    assert plan_tagging(tagged, "append").examples[0].after == "old, new, 20 wide"
    assert plan_tagging(tagged, "replace").examples[0].after == "new, 20 wide"
    assert plan_tagging(tagged, "missing").counts["captions written"] == 4
    assert len(chosen(editor.pictures, "missing")) == 4
    with pytest.raises(UserError, match="no way"):
        chosen(editor.pictures, "sideways")
    editor.apply(plan_tagging(tagged, "append"))
    assert editor.pictures[4].tags == ("new", "24 wide")
    editor.undo()
    assert editor.pictures[4].tags == ()


def test_a_run_that_was_broken_off_goes_on(editor, tmp_path):
    memory = tmp_path / ".memory"
    steps = tag_pictures(editor.pictures, Counting(), memory)
    assert [next(steps), next(steps)] == [(0, 5), (2, 5)]
    steps.close()
    with open(memory, "a", encoding="utf-8") as file:
        file.write('\n{"key": "cut o')
    second = Counting()
    assert len(finished(tag_pictures(editor.pictures, second, memory)).tags) == 5
    third, other = Counting(), Counting("other settings")
    finished(tag_pictures(editor.pictures, third, memory))
    finished(tag_pictures(editor.pictures, other, memory))
    assert (second.seen, third.seen, other.seen) == (3, 0, 5)


def test_damaged_pictures_are_left_out(editor, tmp_path):
    path = editor.pictures[2].path
    path.write_bytes(path.read_bytes()[:60])
    tagged = finished(tag_pictures(editor.pictures, Counting(), tmp_path / ".memory"))
    assert len(tagged.tags) == 4 and [p.path.name for p in tagged.problems] == ["2.png"]
