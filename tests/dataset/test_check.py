from __future__ import annotations

from dataclasses import replace

import pytest

from lib_lora.dataset.batches import Plan
from lib_lora.dataset.check import check
from lib_lora.dataset.hashes import FileHashes
from lib_lora.dataset.scan import scan
from lib_lora.errors import UserError


def words(caption: str) -> int:
    return len(caption.replace(",", " ").split())


def advice_of(config, **options) -> str:
    return "\n".join(str(a) for a in check(scan(config), config, epochs=1, **options).warnings)


def test_more_drawn_pictures_than_others_are_named(add_image, config, tmp_path):
    for i in range(3):
        add_image(f"made x/{i}.png", caption=f"a{i}")
    add_image("own/4.png", caption="b")
    assert "Drawn by a model" not in advice_of(config)
    (tmp_path / "made x" / "made.json").write_text("{}", encoding="utf-8")
    assert "Drawn by a model: 3 of 4 images" in advice_of(config)
    for i in range(5, 8):
        add_image(f"own/{i}.png", caption=f"c{i}")
    assert "Drawn by a model" not in advice_of(config)


def test_counts_steps_and_buckets(add_image, config, tmp_path):
    for i in range(3):
        add_image(f"4_fox/{i}.png", (64, 64))
    for i in range(5):
        add_image(f"1_cat/{i}.png", (200, 100))
    (tmp_path / "1_cat" / "bad.png").touch()
    config = replace(config, batch_size=2)
    report = check(scan(config), config, epochs=10, accumulation=2)
    assert report.images == 8
    assert {c.concept.path.name: (c.images, c.concept.repeats, c.samples) for c in report.concepts} == {
        "4_fox": (3, 4, 12),
        "1_cat": (5, 1, 5),
    }
    assert report.samples_per_epoch == 17
    assert report.steps_per_epoch == 5  # (6 + 3 batches) ÷ 2, rounded up
    assert report.total_steps == 50
    assert report.buckets == {(64, 64): 3, (80, 48): 5}
    assert [p.path.name for p in report.problems] == ["bad.png"]


def test_the_captions_shown_are_those_of_the_first_steps(add_image, config):
    for i in range(6):
        add_image(f"1_x/{i}.png", caption=f"a{i}, b, (c:1.2), from left, d")
    config = replace(config, trigger="sks", shuffle=True, flip=True, keep_tokens=1, batch_size=2)
    found = scan(config)
    plan = Plan(found, config, seed=3)
    real = [draw.caption for step in range(2) for draw in plan.draws(step)]
    assert check(found, config, epochs=1, seed=3).captions == real[:3]


def test_token_counts_include_the_trigger(add_image, config):
    add_image("1_x/a.png", caption=", ".join(["tag"] * 75))
    add_image("1_x/b.png", caption="tag " * 160)
    add_image("1_x/c.png")
    config = replace(config, trigger="sks")
    report = check(scan(config), config, epochs=1, max_tokens=150, count_tokens=words)
    assert report.tokens.longest == 161
    assert report.tokens.chunks == {1: 1, 2: 1, 3: 1}
    assert "161 tokens; what is beyond 150 is cut off" in "\n".join(map(str, report.warnings))
    assert check(scan(config), config, epochs=1).tokens is None


def test_a_good_dataset_gets_no_warning(add_image, config):
    for i in range(12):
        add_image(f"1_x/{i}.png", (64, 64), caption=f"sks, tag {i}")
    config = replace(config, trigger="sks", keep_tokens=1)
    assert advice_of(config, count_tokens=words) == ""


def test_few_and_small_images(add_image, config):
    add_image("1_x/a.png", (64, 64), "x")
    add_image("1_x/tiny.png", (32, 20), "y")
    said = advice_of(config)
    assert "Few images (2)" in said
    assert "which will be enlarged: 1 (tiny.png 32×20 to" in said
    assert "enlarged" not in advice_of(replace(config, no_upscale=True, bucket_step=8))


def test_missing_captions(add_image, config):
    add_image("1_red fox/a.png")
    assert "No captions were found; the folder's name is used instead: red fox" in advice_of(config)
    add_image("1_red fox/b.png", caption="x")
    assert "Images without a caption: 1 (a.png)" in advice_of(config)


def test_no_caption_at_all(add_image, config):
    add_image("a.png")
    assert "trained without one" in advice_of(config)


def test_a_trigger_that_some_captions_lack(add_image, config):
    for i in range(4):
        add_image(f"1_x/{i}.png", caption=f"sks, tag {i}" if i else "tag")
    assert "Captions without the trigger sks: 1 (0.png)" in advice_of(replace(config, trigger="sks"))
    assert "Captions without the trigger sks: 1 (0.png)" in advice_of(replace(config, keep_tokens=1))
    assert "trigger" not in advice_of(config)


def test_the_trigger_in_front_of_another_subject_is_named(add_image, config):
    for number in range(3):
        add_image(f"3_mira/{number}.png", caption=f"mira, hat {number}")
        add_image(f"5_rin/r{number}.png", caption=f"rin, boots {number}")
    said = advice_of(replace(config, trigger="mira"))
    assert "mira is put in front of all captions, also in folders without it: 5_rin" in said
    assert "also in folders" not in advice_of(replace(config, trigger="other"))
    assert "also in folders" not in advice_of(config)


def test_tags_in_every_caption(add_image, config):
    for i in range(4):
        add_image(f"1_x/{i}.png", caption=f"sks, 1girl, solo, tag {i}")
    said = advice_of(replace(config, trigger="sks"))
    assert "In every caption, so the LoRA cannot tell it from its subject: 1girl, solo." in said


def test_copies_are_found_by_content(add_image, config, tmp_path):
    for i in range(3):
        add_image(f"1_x/{i}.png", caption=str(i))
    (tmp_path / "1_x" / "copy.png").write_bytes((tmp_path / "1_x" / "1.png").read_bytes())
    said = advice_of(config, hashes=FileHashes(tmp_path / "cache"))
    assert "Copies of other images: 1 (1.png = copy.png)" in said
    assert (tmp_path / "cache" / "hashes.json").is_file()


def test_nothing_to_train_on_is_an_error(config):
    with pytest.raises(UserError, match="no image to train on"):
        check(scan(config), config, epochs=1)


def test_shapes_that_lose_much_are_named(add_image, config):
    for i in range(10):
        add_image(f"1_x/{i}.png", (64, 64), caption=f"a, {i}")
    add_image("1_x/panorama.png", (640, 64), caption="b")
    assert "cut off to fit a bucket: 1 (panorama.png)" in advice_of(config)


def test_more_black_and_white_than_colour_is_said(add_image, config):
    for i in range(3):
        add_image(f"1_x/{i}.png", caption="monochrome, a" if i else "black_and_white, b")
    add_image("1_x/colour.png", caption="c")
    assert "black and white: 3 of 4 images" in advice_of(config)
    for i in range(2):
        add_image(f"1_x/more{i}.png", caption="d")
    assert "black and white" not in advice_of(config)
