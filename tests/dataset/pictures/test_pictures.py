from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.pictures.composites import (
    CompositeOptions,
    count_for_share,
    draw,
    joined,
    padded,
    plan_composites,
)
from lib_lora.dataset.pictures.crops import box_around, box_of_ratio, figures, plan_crops
from lib_lora.dataset.pictures.flips import asymmetric_tags, plan_mirrored
from lib_lora.errors import UserError


def half_red(path: Path, size=(32, 16)) -> Path:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def editor(tmp_path):
    return lambda: DatasetEditor([tmp_path], tmp_path / ".cache")


def test_mirrored_copies_swap_sides_in_picture_mask_and_caption(tmp_path, editor):
    picture = half_red(tmp_path / "a.png")
    half_red(tmp_path / "a-masklabel.png")
    picture.with_suffix(".txt").write_text("left hand, right behind, lefty, bright", encoding="utf-8")
    before = picture.read_bytes()
    opened = editor()
    opened.apply(plan_mirrored(opened.pictures, keep=("lefty",)))
    copy = tmp_path / "a_mirrored.png"
    assert Image.open(copy).getpixel((1, 1)) == (0, 0, 255)
    assert Image.open(tmp_path / "a_mirrored-masklabel.png").getpixel((1, 1)) == (0, 0, 255)
    assert copy.with_suffix(".txt").read_text(encoding="utf-8") == "right hand, right behind, lefty, bright"
    assert picture.read_bytes() == before and len(opened.pictures) == 2
    opened.undo()
    assert not copy.exists() and len(opened.pictures) == 1


def test_asymmetric_pictures_are_named_or_left_out(tmp_path, editor):
    half_red(tmp_path / "a.png").with_suffix(".txt").write_text("heterochromia, smile", encoding="utf-8")
    pictures = editor().pictures
    assert asymmetric_tags(pictures[0].tags) == ["heterochromia"]
    assert "a.png" in plan_mirrored(pictures).notes[0]
    assert not plan_mirrored(pictures, skip_asymmetric=True)


def test_transparency_and_long_names_survive(tmp_path, editor):
    Image.new("RGBA", (16, 16), (255, 0, 0, 99)).save(tmp_path / f"{'n' * 251}.png")
    opened = editor()
    opened.apply(plan_mirrored(opened.pictures))
    assert [Image.open(p.path).getpixel((0, 0)) for p in opened.pictures] == [(255, 0, 0, 99)] * 2


@given(st.integers(16, 900), st.integers(16, 900), st.floats(0.3, 3), st.floats(0, 1), st.floats(0, 1))
def test_boxes_have_their_ratio_and_fit(width, height, ratio, x, y):
    left, top, right, bottom = box_of_ratio((width, height), ratio, (x, y))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height
    assert abs((right - left) - (bottom - top) * ratio) <= max(1, ratio)


def test_a_box_around_a_face():
    assert box_around((90, 90, 110, 110), (400, 400), share=0.5) == (80, 80, 120, 120)
    left, top, right, bottom = box_around((0, 0, 100, 100), (200, 300), ratio=0.5, share=0.4)
    assert (left, top) == (0, 0) and (right, bottom) == (125, 250)


def test_parts_are_new_pictures_with_the_caption(tmp_path, editor):
    half_red(tmp_path / "a.png", (64, 32)).with_suffix(".txt").write_text("x, y", encoding="utf-8")
    opened = editor()
    picture = opened.pictures[0]
    opened.apply(plan_crops([(picture, (32, 0, 64, 32)), (picture, (0, 0, 16, 16))]))
    assert [(p.path.name, p.size, p.tags) for p in opened.pictures[1:]] == [
        ("a_part1.png", (32, 32), ("x", "y")),
        ("a_part2.png", (16, 16), ("x", "y")),
    ]
    assert Image.open(tmp_path / "a_part1.png").getpixel((0, 0)) == (0, 0, 255)
    for box in ((0, 0, 100, 10), (0, 0, 4, 4), (-1, 0, 30, 30)):
        with pytest.raises(UserError, match="cannot be cut"):
            plan_crops([(picture, box)])


def test_sheets_are_cut_where_columns_are_empty(tmp_path):
    sheet = Image.new("RGB", (300, 100), (200, 210, 220))
    for left in (20, 120, 220):
        ImageDraw.Draw(sheet).ellipse((left, 10, left + 59, 89), fill=(10, left, 30))
    ImageDraw.Draw(sheet).point((100, 50), fill="black")  # a speck is no figure
    sheet.save(tmp_path / "sheet.png")
    assert figures(tmp_path / "sheet.png") == [(20, 10, 80, 90), (120, 10, 180, 90), (220, 10, 280, 90)]


def subject(name: str, count: int) -> list[Picture]:
    return [Picture(Path(f"{name}/{n}.png"), (8, 8), 1, 0, Path(name), (name, f"pose {n}")) for n in range(count)]


def test_sides_are_balanced_and_nothing_comes_twice():
    subjects = {name: subject(name, 10) for name in ("mira", "tomo", "kai")}
    drawn = draw(subjects, CompositeOptions(share=0.5, seed=1))
    assert len(drawn) == 30 and draw(subjects, CompositeOptions(share=0.5, seed=1)) == drawn
    left, right = (Counter(pair[side][0] for pair in drawn) for side in (0, 1))
    assert set(left.values()) == set(right.values()) == {10}
    assert all(a != b for (a, _), (b, _) in drawn)
    assert len({tuple(p.path for _, p in pair) for pair in drawn}) == 30
    triples = draw(subjects, CompositeOptions(people=3, share=0.5))
    assert {len({name for name, _ in triple}) for triple in triples} == {3}


def test_too_few_combinations_give_fewer():
    assert len(draw({"a": subject("a", 1), "b": subject("b", 1)}, CompositeOptions(share=0.9))) == 2
    with pytest.raises(UserError, match="2 subjects"):
        draw({"a": subject("a", 3), "b": []}, CompositeOptions())
    with pytest.raises(UserError, match="part of the set"):
        count_for_share(10, 1.0)


def test_joined_pictures_keep_their_shape_at_one_height():
    wide, tall = Image.new("RGB", (80, 40), "red"), Image.new("RGB", (40, 80), "blue")
    both = joined([wide, tall])
    assert both.size == (100, 40)
    assert both.getpixel((79, 20)) == (255, 0, 0) and both.getpixel((80, 20)) == (0, 0, 255)
    square = joined([wide, tall], ratio=1.0)
    assert square.size == (100, 100) and np.array_equal(np.asarray(square)[30:70], np.asarray(both))


def test_padding_goes_on_from_the_edges():
    flat = Image.new("RGB", (10, 10), (9, 8, 7))
    assert padded(flat, 2.0).getcolors() == [(200, (9, 8, 7))]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (10, 10, 3), dtype=np.uint8))
    wide = np.asarray(padded(noise, 2.0))
    assert np.array_equal(wide[:, 5:15], np.asarray(noise)) and np.array_equal(wide[:, 4], wide[:, 5])


def test_composites_are_written_and_undone(tmp_path, editor):
    for name in ("mira", "tomo"):
        for number in range(4):
            path = half_red(tmp_path / f"1_{name}" / f"{number}.png", (24 + 8 * number, 32))
            path.with_suffix(".txt").write_text(f"{name}, pose {number}", encoding="utf-8")
    opened = editor()
    subjects = {name: [p for p in opened.pictures if name in p.tags] for name in ("mira", "tomo")}
    change = plan_composites(subjects, tmp_path / "1_both", CompositeOptions(share=1 / 3))
    assert change.counts == {"pictures made": 4}
    opened.apply(change)
    made = [p for p in opened.pictures if p.folder.name == "1_both"]
    assert len(made) == 4 and all(p.size[1] == 32 and p.tags[0].endswith("/COMPOSITE") for p in made)
    opened.undo()
    assert not (tmp_path / "1_both").exists()
