from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from PIL import Image

from lib_lora.dataset.batches import samples
from lib_lora.dataset.config import Concept
from lib_lora.dataset.scan import scan
from lib_lora.errors import UserError


def reasons(found) -> dict[str, str]:
    return {problem.path.name: problem.reason for problem in found.problems}


def names(found) -> list[str]:
    return [item.path.name for item in found.items]


def test_kohya_folders_give_repeats_and_class_tokens(add_image, config):
    add_image("10_sks dog/a.png")
    add_image("3_red_fox/b.png", caption="own words")
    found = scan(config)
    assert [(i.path.name, i.concept.repeats, i.caption) for i in found.items] == [
        ("a.png", 10, "sks dog"),
        ("b.png", 3, "own words"),
    ]
    assert found.samples_per_epoch == 13
    assert found.problems == ()


def test_a_folder_may_itself_be_a_concept(add_image, config, tmp_path):
    add_image("4_fox/a.png")
    found = scan(replace(config, folders=(Concept(tmp_path / "4_fox"),)))
    assert found.concepts == (Concept(tmp_path / "4_fox", 4, "fox"),)


def test_plain_folders_get_the_given_repeats_and_pass_them_down(add_image, config, tmp_path):
    add_image("plain/a.png")
    add_image("plain/deeper/b.png")
    add_image("plain/deeper/7_named/c.png")
    found = scan(replace(config, folders=(Concept(tmp_path / "plain", 2, "thing"),)))
    # b lies beside a folder named 7_named, so it is left out, as in kohya
    assert [(i.path.name, i.concept.repeats, i.caption) for i in found.items] == [
        ("a.png", 2, "thing"),
        ("c.png", 7, "named"),
    ]
    assert "beside" in reasons(found)["deeper"]


def test_concepts_nest_and_the_inner_name_counts(add_image, config):
    add_image("characters/5_alice/a.png")
    add_image("characters/5_alice/summer/b.png")
    add_image("characters/5_alice/2_alice hat/c.png")
    found = scan(config)
    assert {i.path.name: (i.concept.repeats, i.caption) for i in found.items} == {
        "a.png": (5, "alice"),
        "b.png": (5, "alice"),
        "c.png": (2, "alice hat"),
    }


def test_the_order_does_not_depend_on_the_file_system(add_image, config):
    for name in ("b.png", "A.png", "a2.png", "Z.png"):
        add_image(f"1_x/{name}")
    assert names(scan(config)) == ["A.png", "a2.png", "b.png", "Z.png"]


def test_images_beside_concepts_folders_listed_twice_and_zero_repeats_are_reported(add_image, config, tmp_path):
    add_image("stray.png")
    add_image("1_x/a.png")
    add_image("0_off/b.png")
    found = scan(replace(config, folders=(Concept(tmp_path), Concept(tmp_path / "1_x"))))
    assert names(found) == ["a.png"]
    assert "not used" in reasons(found)[tmp_path.name]
    assert "0 repeats" in reasons(found)["0_off"]
    assert "already" in reasons(found)["1_x"]


def test_a_date_is_no_number_of_repeats(add_image, config, tmp_path):
    add_image("1_x/a.png")
    add_image("20240101_holiday/b.png")
    add_image("99999999999_x/c.png")
    found = scan(replace(config, folders=(Concept(tmp_path),)))
    assert names(found) == ["a.png"]
    assert "20,240,101 repeats" in reasons(found)["20240101_holiday"]
    assert len(samples(found)) == 1


def test_an_epoch_beyond_measure_is_refused_before_it_is_built(add_image, config, tmp_path):
    add_image("10000_x/a.png")
    found = scan(replace(config, folders=(Concept(tmp_path),)))
    assert len(samples(found)) == 10_000
    with pytest.raises(UserError, match="10,010,000 images"):
        samples(replace(found, items=found.items * 1001))


def test_missing_empty_and_wrong_folders_are_reported(add_image, config, tmp_path):
    image = add_image("a/a.png")
    (tmp_path / "empty").mkdir()
    folders = (Concept(tmp_path / "gone"), Concept(tmp_path / "empty"), Concept(image))
    found = scan(replace(config, folders=folders))
    assert found.items == ()
    assert [p.reason for p in found.problems] == [
        "the folder does not exist",
        "there is no image in this folder or below it",
        "this is a file, not a folder",
    ]
    assert all(p.fix for p in found.problems)


def test_hidden_files_and_captions_are_not_images(add_image, config):
    add_image("1_x/.thumb.png")
    add_image("1_x/.cache/a.png")
    add_image("1_x/a.PNG", caption="kept")
    assert names(scan(config)) == ["a.PNG"]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_images_are_reported_by_name_and_skipped(add_image, config, tmp_path):
    add_image("1_x/good.png")
    folder = tmp_path / "1_x"
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<html>404</html>", encoding="utf-8")
    (folder / "noise.webp").write_bytes(bytes(range(256)))
    (folder / "huge.png").write_bytes(png_header(60000, 60000))
    (folder / "large.png").write_bytes(png_header(10000, 10000))
    (folder / "moving.gif").write_bytes(b"GIF89a")
    found = scan(config)
    assert names(found) == ["good.png"]
    assert reasons(found) == {
        "empty.png": "the file is empty",
        "page.jpg": "the content is not an image of a known format",
        "noise.webp": "the content is not an image of a known format",
        "huge.png": "the image has more than 89 million pixels",
        "large.png": "the image has more than 89 million pixels",
        "moving.gif": ".gif files are not read",
    }
    assert all(p.skipped and p.fix for p in found.problems)


def test_a_lying_extension_is_used_and_reported(add_image, config):
    path = add_image("1_x/a.png")
    path.rename(path.with_suffix(".jpg"))
    found = scan(config)
    assert names(found) == ["a.jpg"]
    assert reasons(found) == {"a.jpg": "the content is PNG, although the name ends in .jpg"}
    assert not found.problems[0].skipped


def test_exif_rotation_decides_the_bucket(config, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "b.png", "c.webp"):
        Image.new("RGB", (96, 48)).save(tmp_path / name, exif=exif)
    found = scan(config)
    assert {i.size for i in found.items} == {(48, 96)}
    assert {i.bucket for i in found.items} == {(48, 80)}


def test_scanning_never_decodes_pixels(add_image, config, monkeypatch):
    add_image("1_x/a.png")
    add_image("1_x/b.jpg")
    add_image("1_x/c.webp")

    def refuse(image):
        raise AssertionError(f"{image} was decoded")

    from PIL import ImageFile

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    found = scan(config)
    assert len(found.items) == 3 and not found.problems


def test_settings_are_checked_first(config):
    with pytest.raises(UserError, match="multiple of 8"):
        scan(replace(config, bucket_step=7))
