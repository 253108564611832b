"""What is passed over or shared is named, by *Check* and in *Dataset* in the same words."""

from __future__ import annotations

import os

from PIL import Image

from lib_lora.dataset.collection.moving import plan_move, plan_numbering
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.scan import scan


def test_check_and_dataset_name_the_same_oddities(add_image, opened, tmp_path):
    add_image("a.png", caption="shared")
    add_image("a.jpg")
    for number in (1, 2):
        path = add_image(f"image{number}.jpg")
        path.with_name(f"{path.name}.txt").write_text("red hat", encoding="utf-8")
    for name in ("b.pjpeg", "c.APNG", "film.mp4", "d.tif"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("e.jpg_large", "f.jpg!d", "noending"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    (tmp_path / "notes.rtf").write_text("no picture", encoding="utf-8")
    checked = {str(problem) for problem in scan(DatasetConfig((Concept(tmp_path),), resolution=64)).problems}
    shown = {str(problem) for problem in opened().problems}
    assert checked - shown == set() and shown - checked == set()
    text = "\n".join(sorted(shown))
    for part in (
        "2 images share this caption file (a.jpg, a.png)",
        "(2 here: image1.jpg.txt, image2.jpg.txt)",
        "Name it image1.txt",
        ".pjpeg files",
        ".APNG files",
        ".mp4 files",
        ".tif files",
        ".jpg_large files are not read, and this is a PNG picture",
        ".jpg!d",
        "without an ending",
    ):
        assert part in text
    assert "notes.rtf" not in text and len(shown) == 9


def test_captions_of_other_endings_are_those_of_training(add_image, opened, tmp_path):
    add_image("a.png").with_suffix(".caption").write_text("one", encoding="utf-8")
    add_image("b.png").with_suffix(".CAPTION").write_text("two", encoding="utf-8")
    add_image("c.png")
    pictures = {p.path.stem: p for p in opened().pictures}
    assert {name: picture.text for name, picture in pictures.items()} == {"a": "one", "b": "two", "c": ""}
    assert pictures["c"].caption == tmp_path / "c.caption"


def test_a_shared_caption_stays_with_each_picture(add_image, opened, every_byte, tmp_path):
    add_image("a.png", caption="shared")
    add_image("a.jpg")
    before = every_byte()
    editor = opened()
    by_name = {p.path.name: p for p in editor.pictures}
    editor.apply(plan_move([by_name["a.jpg"]], tmp_path / "out", "Rejects"))
    moved = every_byte()
    assert moved["a.txt"] == moved["out/a.txt"] == b"shared"
    editor.undo()
    assert every_byte() == before
    editor.apply(plan_numbering(editor.pictures))
    numbered = every_byte()
    assert sorted(numbered) == ["1.jpg", "1.txt", "2.png", "2.txt"] and numbered["1.txt"] == numbered["2.txt"]
    editor.undo()
    assert every_byte() == before


def test_pipes_are_named_and_not_waited_for(add_image, opened, tmp_path):
    add_image("a.png")
    add_image("b.png", caption="red hat")
    os.mkfifo(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "c.png")
    os.mkfifo(tmp_path / "b.png.json")
    checked = scan(DatasetConfig((Concept(tmp_path),), resolution=64, masks="files"))
    assert [item.path.name for item in checked.items] == ["b.png"]
    for problems in (checked.problems, opened().problems):
        named = {problem.path.name for problem in problems if "pipe" in problem.reason}
        assert {"c.png"} <= named and named & {"a.txt", "a.png"}
