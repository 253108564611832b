from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lib_lora.errors import UserError
from lib_lora.tools.likeness import COPY_FLOOR, Likeness, read_likeness, write_likeness


def picture(seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((64, 48), Image.Resampling.BILINEAR)


def test_a_copy_is_recognised_and_another_picture_is_not():
    likeness = Likeness([picture(seed) for seed in range(6)])
    assert likeness.limit == COPY_FLOOR
    copy = picture(3).resize((128, 96)).point(lambda v: min(255, int(v * 0.9) + 20))  # size and contrast do not matter
    assert likeness.of(copy) > 0.98
    assert likeness.of(picture(50)) < likeness.limit
    assert likeness.of(Image.new("RGB", (8, 8), "red")) == 0


def test_a_set_of_near_copies_has_a_higher_limit():
    series = [picture(1).point(lambda v, i=i: min(255, v + i)) for i in range(5)]
    assert Likeness(series).limit > 0.99


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    files = sorted(tmp_path.iterdir())
    assert Likeness.to_files(files).of(picture(0)) == pytest.approx(1, abs=1e-5)
    with pytest.raises(UserError):
        Likeness.to_files(files[1:])


def test_what_was_found_is_kept_beside_the_grid(tmp_path):
    likeness = Likeness([picture(0)])
    write_likeness(tmp_path, {"e1": [0.5, 0.99]}, likeness)
    found = read_likeness(tmp_path)["e1"]
    assert (found.mean, found.copies) == (pytest.approx(0.745), 0.5)
    write_likeness(tmp_path, {}, None)
    assert read_likeness(tmp_path) == {}
