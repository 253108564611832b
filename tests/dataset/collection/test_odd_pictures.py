"""Every odd kind of picture can be opened, shown, compared and copied; what cannot is named, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lib_lora.dataset.duplicates.groups import find_duplicates
from lib_lora.dataset.editor import STATE_FOLDER
from lib_lora.dataset.images import ORIENTATION_TAG
from lib_lora.dataset.pictures.flips import plan_mirrored
from lib_lora.dataset.pictures.masks import plan_alpha_masks
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError


@pytest.fixture
def odd(tmp_path):
    """16 bits, CMYK, palettes with and without transparency, one bit, turned by EXIF, and a wrong ending."""
    ramp = np.linspace(0, 65535, 48 * 32).reshape(32, 48)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.png")
    photo = Image.fromarray(np.dstack([ramp / 257, 255 - ramp / 257, ramp / 600]).astype(np.uint8))
    photo.convert("CMYK").save(tmp_path / "print.jpg")
    photo.quantize(16).save(tmp_path / "palette.png")
    photo.quantize(16).save(tmp_path / "clear.png", transparency=3)
    photo.convert("1").save(tmp_path / "bits.bmp")
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif)
    photo.save(tmp_path / "named.png", "JPEG")
    return tmp_path


def test_odd_pictures_go_all_the_way(odd, opened):
    editor = opened()
    sizes = {picture.path.name: picture.size for picture in editor.pictures}
    assert len(sizes) == 7 and sizes.pop("turned.jpg") == (32, 48) and set(sizes.values()) == {(48, 32)}
    before = {path.name: path.read_bytes() for path in odd.iterdir() if path.is_file()}
    for picture in editor.pictures:
        assert Image.open(editor.thumbnails.path(picture)).size == picture.size
    work = find_duplicates(editor.pictures)
    assert [step for step in work][-1][0] == 14
    editor.apply(plan_mirrored(editor.pictures))
    editor.apply(plan_alpha_masks(editor.pictures))
    assert len(editor.pictures) == 14 and not [problem for problem in editor.problems if problem.skipped]
    assert all(Image.open(p.path).convert("RGB").size in ((48, 32), (32, 48)) for p in editor.pictures)
    editor.undo()
    editor.undo()
    assert {path.name: path.read_bytes() for path in odd.iterdir() if path.is_file()} == before


def test_sixteen_bits_keep_their_tones(odd, opened):
    editor = opened()
    deep = next(picture for picture in editor.pictures if picture.path.name == "deep.png")
    tones = np.asarray(Image.open(editor.thumbnails.path(deep)).convert("L"))
    assert tones.min() < 10 and tones.max() > 245 and 100 < tones.mean() < 155


def test_a_folder_that_cannot_be_written_loses_nothing(add_image, opened, every_byte, tmp_path):
    add_image("a.png", caption="mira")
    (tmp_path / STATE_FOLDER).write_text("a file where the history should be", encoding="utf-8")
    editor = opened()
    before = every_byte()
    with pytest.raises(UserError, match="could not be made"):
        editor.apply(editor.plan_tags(Add(("hat",)), "Add hat"))
    assert every_byte() == before and editor.pictures[0].tags == ("mira",)


def test_a_name_that_is_taken_stops_the_change_before_it_begins(add_image, opened, every_byte):
    add_image("a.png", caption="mira")
    editor = opened()
    change = plan_mirrored(editor.pictures)
    add_image("A_MIRRORED.PNG")
    add_image("a_mirrored.png")
    before = every_byte()
    with pytest.raises(UserError, match="exists already"):
        editor.apply(change)
    assert every_byte() == before and editor.history() == []


def test_a_picture_that_vanishes_while_copies_are_made(add_image, opened, every_byte):
    add_image("a.png")
    gone = add_image("b.png")
    editor = opened()
    change = plan_mirrored(editor.pictures)
    gone.unlink()
    before = every_byte()
    with pytest.raises(UserError, match="not there any more"):
        editor.apply(change)
    assert every_byte() == before
