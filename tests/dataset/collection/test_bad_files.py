"""Files that cannot be trained on as they are, all at once: converted, or set aside, and back by an undo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.bad_files import plan_aside, plan_png
from lib_lora.dataset.editor import DatasetEditor


def test_bad_files_are_converted_or_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("CMYK", (16, 8)).save(folder / "print.tif")
    Image.new("P", (16, 8)).save(folder / "old.gif", transparency=0)
    turned = Image.Exif()
    turned[274] = 6  # a quarter to the right
    Image.new("RGB", (16, 8)).save(folder / "turned.tif", exif=turned)
    Image.fromarray(np.full((8, 16), 30000, np.uint16)).save(folder / "deep.tif")
    (folder / "torn.gif").write_bytes(b"GIF89a")
    editor = DatasetEditor([folder], tmp_path / "cache")
    assert not editor.pictures
    change = plan_png([problem.path for problem in editor.problems], editor.originals)
    assert change.counts == {"pictures made": 4} and change.notes[0].endswith("already): 1")
    editor.apply(change)
    assert sorted(picture.path.name for picture in editor.pictures) == [
        "deep.png", "old.png", "print.png", "turned.png",
    ]  # fmt: skip
    assert Image.open(folder / "turned.png").size == (8, 16)
    assert Image.open(folder / "deep.png").convert("L").getpixel((0, 0)) == 117
    assert [Image.open(folder / name).mode for name in ("old.png", "print.png")] == ["RGBA", "RGB"]
    assert [problem.path.name for problem in editor.problems] == ["torn.gif"]
    editor.rejected.mkdir()
    (editor.rejected / "TORN.gif").write_bytes(b"another")
    editor.apply(plan_aside([problem.path for problem in editor.problems], editor.rejected))
    assert not editor.problems and (editor.rejected / "torn-2.gif").read_bytes() == b"GIF89a"
    editor.undo()
    editor.undo()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "deep.tif", "old.gif", "print.tif", "torn.gif", "turned.tif",
    ]  # fmt: skip
