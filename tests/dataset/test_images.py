from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lib_lora.dataset.images import load_pixels, load_rgb
from lib_lora.dataset.problems import BadFile


def colour_of(path) -> tuple[int, ...]:
    return load_rgb(path).getpixel((2, 2))


def test_transparency_is_composited_on_white(tmp_path):
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    half.save(tmp_path / "rgba.png")
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "la.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=1)
    palette.save(tmp_path / "opaque.png")
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert colour_of(tmp_path / "rgba.png") == (255, 127, 127)
    assert colour_of(tmp_path / "la.png") == (255, 255, 255)
    assert colour_of(tmp_path / "palette.png") == (255, 255, 255)
    assert colour_of(tmp_path / "opaque.png") == (10, 20, 30)
    assert colour_of(tmp_path / "key.png") == (255, 255, 255)


def test_every_kind_of_pixel_becomes_rgb(tmp_path):
    Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)).save(tmp_path / "grey16.png")
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    Image.new("1", (4, 4), 1).save(tmp_path / "bits.png")
    Image.new("L", (4, 4), 77).save(tmp_path / "grey.png")
    assert colour_of(tmp_path / "grey16.png") == (128, 128, 128)
    assert colour_of(tmp_path / "bits.png") == (255, 255, 255)
    assert colour_of(tmp_path / "grey.png") == (77, 77, 77)
    red, green, blue = colour_of(tmp_path / "cmyk.jpg")
    assert red > 230 and green < 30 and blue < 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation):
    upright = Image.new("RGB", (24, 16), "black")
    upright.paste("white", (0, 0, 8, 8))  # the corner that is at the top left when seen upright
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that a camera's sensor has applied
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    seen = load_rgb(tmp_path / "a.png")
    assert seen.size == (24, 16)
    assert np.array_equal(np.asarray(seen), np.asarray(upright))


def test_pixels_cover_the_bucket_and_keep_the_centre(tmp_path):
    image = Image.new("RGB", (200, 100), "black")
    image.paste("white", (50, 0, 150, 100))
    image.save(tmp_path / "a.png")
    pixels = load_pixels(tmp_path / "a.png", (64, 64))
    assert pixels.shape == (3, 64, 64) and pixels.dtype == torch.float32
    assert pixels[:, :, 2:-2].min() > 0.97 and pixels.min() > 0.8  # Lanczos looks a little beyond the crop
    assert pixels.max() <= 1.0


def test_a_picture_of_the_right_size_is_not_resampled(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = load_pixels(tmp_path / "a.png", (64, 48))
    assert torch.equal(((pixels + 1) * 127.5).round().permute(1, 2, 0), torch.from_numpy(values).float())
    assert torch.equal(load_pixels(tmp_path / "a.png", (64, 48), flip=True), pixels.flip(-1))


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "bmp"])
def test_a_cut_off_image_is_refused_by_name(tmp_path, extension):
    path = tmp_path / f"cut.{extension}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadFile) as error:
        load_rgb(path)
    assert error.value.where == str(path) and error.value.fix


def test_a_vanished_image_is_refused_by_name(tmp_path):
    with pytest.raises(BadFile, match="not there"):
        load_rgb(tmp_path / "gone.png")
