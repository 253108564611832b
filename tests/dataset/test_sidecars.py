from __future__ import annotations

from dataclasses import replace

import pytest

from lib_lora.dataset.batches import Plan
from lib_lora.dataset.scan import scan
from lib_lora.dataset.sidecars import CaptionFiles


def captions(found) -> dict[str, str]:
    return {item.path.stem: item.caption for item in found.items}


def test_txt_wins_over_caption_and_the_mix_is_reported(add_image, config):
    add_image("1_fox/a.png", caption="from txt").with_suffix(".caption").write_text("other", encoding="utf-8")
    add_image("1_fox/b.png").with_suffix(".caption").write_text("from caption", encoding="utf-8")
    add_image("1_fox/c.png")
    found = scan(config)
    assert captions(found) == {"a": "from txt", "b": "from caption", "c": "fox"}
    assert [i.caption_path is None for i in found.items] == [False, False, True]
    assert [(p.path.name, p.skipped) for p in found.problems] == [("1_fox", False)]
    assert ".txt" in found.problems[0].reason and ".caption" in found.problems[0].reason


@pytest.mark.parametrize("extension", [".caption", "caption", ".CAPTION"])
def test_one_extension_can_be_asked_for(add_image, config, extension):
    add_image("1_fox/a.png", caption="from txt").with_suffix(".caption").write_text("asked for", encoding="utf-8")
    found = scan(replace(config, caption_extension=extension))
    assert captions(found) == {"a": "asked for"}
    assert found.problems == ()


def test_other_files_do_not_make_a_mix(add_image, config, tmp_path):
    add_image("1_fox/a.png", caption="x")
    (tmp_path / "1_fox" / "notes.caption").write_text("of no image", encoding="utf-8")
    assert scan(config).problems == ()


def test_byte_order_mark_and_line_ends_are_no_part_of_a_caption(add_image, config):
    add_image("1_fox/a.png").with_suffix(".txt").write_bytes(b"\xef\xbb\xbf tail, caf\xc3\xa9 \r\n")
    found = scan(config)
    assert captions(found) == {"a": "tail, café"}
    assert found.problems == ()


@pytest.mark.parametrize("content", ["é".encode("latin-1"), "tag".encode("utf-16")[:-1], "tag".encode("utf-16-le")])
def test_undecodable_captions_are_reported_and_their_image_skipped(add_image, config, content):
    add_image("1_fox/good.png", caption="x")
    add_image("1_fox/bad.png").with_suffix(".txt").write_bytes(content)
    found = scan(config)
    assert captions(found) == {"good": "x"}
    (problem,) = found.problems
    assert problem.path.name == "bad.png" and "bad.txt" in problem.reason and problem.skipped
    assert "UTF-8" in problem.fix


def test_empty_and_many_lined_captions_are_used_and_reported(add_image, config):
    add_image("1_fox/empty.png", caption=" \n")
    add_image("1_fox/lines.png", caption="\nfirst, line\n\nsecond\n")
    found = scan(config)
    assert captions(found) == {"empty": "fox", "lines": "first, line"}
    assert [(p.path.name, p.skipped) for p in found.problems] == [("empty.txt", False), ("lines.txt", False)]


def test_captions_of_other_programs_are_found_where_there_are_no_usual_ones(add_image, tmp_path):
    image = add_image("a.png")
    tags = tmp_path / "a.tags"
    tags.write_text("fox", encoding="utf-8")
    assert CaptionFiles([image, tags]).read(image).text == "fox"
    usual = tmp_path / "b.txt"
    usual.write_text("other", encoding="utf-8")
    assert CaptionFiles([image, tags, usual]).read(image) is None


def test_an_ending_that_no_picture_has_is_noticed(add_image, config):
    add_image("a.png", caption="fox")
    problems = scan(replace(config, caption_extension=".caption")).problems
    assert any("there are .txt files" in problem.reason for problem in problems)
    assert not scan(config).problems


def test_a_random_line_is_drawn_each_time(add_image, config):
    add_image("a.png", caption="first\nsecond\nthird")
    config = replace(config, random_line=True)
    found = scan(config)
    assert not found.problems
    plan = Plan(found, config, 0)
    assert {plan.draws(step)[0].caption for step in range(30)} == {"first", "second", "third"}
