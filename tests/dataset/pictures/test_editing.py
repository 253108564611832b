"""Erasing, masks and upscaling: what is made, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lib_lora.dataset.collection.moving import set_aside
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.pictures.area import Rectangle, Stroke, bounds, drawn, parse_area
from lib_lora.dataset.pictures.erase import erased, plan_erased
from lib_lora.dataset.pictures.fill import filled
from lib_lora.dataset.pictures.masks import plan_alpha_masks, plan_area_masks
from lib_lora.dataset.pictures.upscale import enlarged, plan_upscaled
from lib_lora.errors import UserError

QUARTER = (Rectangle(0, 0, 0.5, 0.5),)


def lanczos(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


@pytest.fixture
def editor(tmp_path):
    return lambda: DatasetEditor([tmp_path], tmp_path / ".cache")


def test_what_the_page_draws_is_read():
    shapes = parse_area('[{"box": [0.75, 0.5, 0.25, 2]}, {"radius": 0.1, "points": [[0.5, 0.1], [0.6, 0.1]]}]')
    assert shapes == (Rectangle(0.25, 0.5, 0.75, 1.0), Stroke(0.1, ((0.5, 0.1), (0.6, 0.1))))
    assert bounds(shapes[:1], (40, 20)) == (10, 10, 30, 20)
    assert drawn(shapes, (100, 100)).getpixel((55, 10)) == 255
    for text in ("", "[]", "[{}]", "nonsense", '[{"box": [1]}]'):
        with pytest.raises(UserError):
            parse_area(text)
    with pytest.raises(UserError, match="empty"):
        bounds((Rectangle(0.5, 0.5, 0.5, 0.5),), (10, 10))


@given(st.integers(3, 40), st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_filling_keeps_what_is_known_and_stays_within_it(height, width, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 255, (height, width, 3)).astype(np.float32)
    hole = rng.random((height, width)) < 0.5
    hole[0, 0] = False
    result = filled(pixels.copy(), hole)
    known = pixels[~hole]
    assert np.array_equal(result[~hole], known)
    assert (result >= known.min(0) - 0.01).all() and (result <= known.max(0) + 0.01).all()


def test_a_ramp_is_continued_through_a_hole():
    ramp = np.repeat(np.linspace(0, 200, 64, dtype=np.float32)[None, :, None], 64, axis=0).repeat(3, axis=2)
    hole = np.zeros((64, 64), bool)
    hole[20:44, 20:44] = True
    assert np.abs(filled(np.where(hole[..., None], 255, ramp), hole) - ramp).max() < 8


def test_a_signature_goes_from_a_copy(add_image, editor, tmp_path):
    path = add_image("a.png", (64, 64), caption="mira, signature, smile")
    image = Image.new("RGB", (64, 64), "navy")
    ImageDraw.Draw(image).text((2, 2), "me", fill="white")
    image.save(path)
    before = path.read_bytes()
    opened = editor()
    change = plan_erased(opened.pictures, QUARTER)
    opened.apply(set_aside(change, opened.pictures, opened.originals))
    assert [picture.path.name for picture in opened.pictures] == ["a_erased.png"]
    assert opened.pictures[0].tags == ("mira", "smile")
    assert Image.open(opened.pictures[0].path).getcolors() == [(64 * 64, (0, 0, 128))]
    assert (opened.originals / "a.png").read_bytes() == before
    opened.undo()
    assert path.read_bytes() == before and [p.path for p in opened.pictures] == [path]


def test_erasing_leaves_transparency_alone():
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((10, 200, 30, 255), (8, 8, 32, 32))
    image.paste((255, 0, 0, 255), (10, 10, 14, 14))
    result = erased(image, (Rectangle(0.3, 0.3, 0.5, 0.5),))
    assert np.array_equal(np.asarray(result)[..., 3], np.asarray(image)[..., 3])
    assert result.getpixel((12, 12)) == (10, 200, 30, 255)


def test_masks_of_areas_and_of_transparency(add_image, editor, every_file):
    add_image("a.png", (20, 10))
    clear = Image.new("RGBA", (20, 10), (255, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 10, 10))
    clear.save(add_image("b.png"))
    opened = editor()
    before = every_file()
    opened.apply(plan_area_masks(opened.pictures, QUARTER, learn_inside=False))
    first = Image.open(opened.pictures[0].mask)
    assert (first.size, first.getpixel((0, 0)), first.getpixel((19, 9))) == ((20, 10), 0, 255)
    change = plan_alpha_masks(opened.pictures)
    assert change.counts == {"masks replaced": 1} and "without a mask: 1" in change.notes[0]
    opened.apply(change)
    second = Image.open(opened.pictures[1].mask)
    assert (second.getpixel((0, 0)), second.getpixel((19, 0))) == (0, 255)
    opened.undo()
    opened.undo()
    assert every_file() == before


@pytest.fixture
def every_file(tmp_path):
    return lambda: {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}


def test_small_pictures_are_enlarged_with_their_transparency(add_image, editor):
    clear = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    clear.paste((250, 240, 10, 255), (10, 5, 20, 15))
    clear.save(add_image("small.png"))
    add_image("large.png", (80, 90))
    opened = editor()
    change = plan_upscaled(opened.pictures, 60, lanczos)
    assert change.counts == {"pictures made": 1, "large enough already": 1}
    assert (change.examples[0].before, change.examples[0].after) == ("30×20", "90×60")
    opened.apply(change)
    made = Image.open(next(p.path for p in opened.pictures if "upscaled" in p.path.name))
    pixels = np.asarray(made)
    assert made.size == (90, 60) and made.mode == "RGBA"
    assert pixels[0, 0, 3] == 0 and pixels[30, 45, 3] == 255
    assert np.abs(pixels[pixels[..., 3] > 0][:, :3].astype(int) - (250, 240, 10)).max() <= 1  # no dark fringe


def test_an_upscaler_that_misses_the_size_is_put_right():
    image = Image.new("RGBA", (15, 21), "red")
    assert enlarged(image, 2.0, lambda rgb, factor: rgb.resize((24, 40))).size == (30, 42)
