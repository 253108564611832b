from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.caption import CaptionPipeline, choose_wildcards, split_tags, swap_sides

tags = st.lists(st.text("abAB ()[]\\{}:<>_1.9é左", min_size=1).map(str.strip).filter(bool), max_size=8)
seeds = st.integers(0, 2**32)


@given(tags, seeds)
def test_shuffling_is_a_permutation_and_everything_is_literal(tags, seed):
    final = CaptionPipeline(shuffle=True, split_sentences=True)(", ".join(tags), random.Random(seed))
    assert sorted(split_tags(final)) == sorted(tags)


@given(tags, st.integers(0, 9), seeds)
def test_kept_tags_stay_in_front(tags, keep, seed):
    final = CaptionPipeline(keep_tokens=keep, shuffle=True, split_sentences=True)(", ".join(tags), random.Random(seed))
    assert split_tags(final)[:keep] == tags[:keep]


@given(tags, st.booleans(), st.booleans(), seeds)
def test_the_trigger_is_first_and_only_once(tags, shuffle, flipped, seed):
    pipeline = CaptionPipeline("sks, left_behind_1", 1, shuffle, split_sentences=True)
    final = split_tags(pipeline(", ".join([*tags, "sks"]), random.Random(seed), flipped))
    assert final[:2] == ["sks", "left_behind_1"]
    assert final.count("sks") == 1


@given(tags, st.integers(0, 3))
def test_without_shuffling_nothing_moves_and_nothing_is_drawn(tags, keep):
    generator = random.Random(1)
    assert CaptionPipeline("", keep)(", ".join(tags), generator) == ", ".join(tags)
    assert generator.getstate() == random.Random(1).getstate()


def test_brackets_and_weights_stay():
    caption = r"miku \(vocaloid\), (blue hair:1.2), [hat], {a|b}, <lora:x:1>"
    assert CaptionPipeline()(caption, random.Random(0)) == caption


def test_the_trigger_counts_as_kept():
    pipeline = CaptionPipeline("sks", keep_tokens=2, shuffle=True)
    finals = {pipeline("1girl, a, b, c, d", random.Random(seed)) for seed in range(20)}
    assert all(final.startswith("sks, 1girl, ") for final in finals)
    assert len(finals) > 5


@pytest.mark.parametrize(
    ("tag", "mirrored"),
    [
        ("left hand", "right hand"),
        ("from left", "from right"),
        ("from_left", "from_right"),
        ("looking right (side)", "looking left (side)"),
        ("Left-handed, RIGHT", "Right-handed, LEFT"),
        ("left to right", "right to left"),
        ("cleft chin", "cleft chin"),
        ("bright", "bright"),
        ("upright", "upright"),
        ("copyright", "copyright"),
        ("all rights reserved", "all rights reserved"),
        ("leftover", "leftover"),
        ("left behind", "left behind"),
        ("right_behind", "right_behind"),
        ("left2", "left2"),
        ("éleft", "éleft"),
    ],
)
def test_sides_are_swapped_as_words(tag, mirrored):
    assert swap_sides(tag) == mirrored


@given(
    st.lists(
        st.sampled_from(["left", "right", "Left", "RIGHT", "lEft", "cleft", "bright", "behind", " ", "_", ",", "-"])
    )
)
def test_mirroring_twice_changes_nothing(words):
    text = "".join(words)
    assert swap_sides(swap_sides(text)) == text


def test_a_mirrored_image_has_a_mirrored_caption_but_its_own_trigger():
    pipeline = CaptionPipeline("left shark")
    final = pipeline("left shark, from left, bright", random.Random(0), flipped=True)
    assert final == "left shark, from right, bright"


def test_prefix_and_suffix_surround_what_may_move():
    pipeline = CaptionPipeline("sks", 2, True, prefix="photo,", suffix=", sharp")
    finals = {pipeline("a, b, c", random.Random(seed)) for seed in range(40)}
    assert len(finals) > 10 and all(final.startswith("sks, photo, ") for final in finals)
    assert {tuple(sorted(split_tags(final))) for final in finals} == {("a", "b", "c", "photo", "sharp", "sks")}


def test_the_keep_separator_wins_over_keep_tokens():
    pipeline = CaptionPipeline("sks", 1, True, keep_separator="|||")
    finals = {pipeline("girl, red hair ||| a, b, c, d ||| end, left", random.Random(seed), True) for seed in range(40)}
    assert len(finals) == 24 or len(finals) > 12
    assert all(final.startswith("sks, girl, red hair, ") and final.endswith(", end, right") for final in finals)
    assert pipeline("girl, a", random.Random(1)) in ("sks, girl, a", "sks, a, girl")


def test_the_secondary_separator_keeps_tags_together():
    pipeline = CaptionPipeline(shuffle=True, secondary_separator=";;;")
    finals = {pipeline("a;;;b;;;c, d, e", random.Random(seed)) for seed in range(40)}
    assert len(finals) == 6 and all("a, b, c" in final for final in finals)


def test_wildcards():
    finals = {choose_wildcards("{red|blue|} hat, {{literal|}} {x}", random.Random(seed)) for seed in range(40)}
    assert finals == {f"{colour} hat, {{literal|}} x" for colour in ("red", "blue", "")}
    assert CaptionPipeline(wildcards=True)("{a|a}, b", random.Random(0)) == "a, b"


def test_whole_captions_are_dropped_at_their_rate_and_in_their_epochs():
    pipeline = CaptionPipeline("sks", dropout=0.3)
    dropped = [pipeline("a, b", random.Random(seed)) == "" for seed in range(1000)]
    assert 0.25 < sum(dropped) / 1000 < 0.35
    every = CaptionPipeline("sks", dropout_every_n_epochs=3)
    assert [every("a", random.Random(0), epoch=epoch) for epoch in range(1, 7)] == ["sks, a", "sks, a", ""] * 2


def test_flexible_tags_are_dropped_at_their_rate():
    pipeline = CaptionPipeline("sks", keep_tokens=2, tag_dropout=0.4)
    finals = [split_tags(pipeline("kept, a, b, c, d, e", random.Random(seed))) for seed in range(400)]
    assert all(final[:2] == ["sks", "kept"] and final[2:] == sorted(final[2:]) for final in finals)
    assert 0.55 < sum(len(final) - 2 for final in finals) / 2000 < 0.65


def test_token_warmup_takes_in_one_tag_after_the_other():
    pipeline = CaptionPipeline("sks", keep_tokens=1, warmup_min=1)
    counts = [len(split_tags(pipeline("a, b, c, d, e", random.Random(0), warmed=w))) - 1 for w in (0, 0.25, 0.5, 0.99)]
    assert counts == [1, 2, 3, 4]
    assert pipeline("a, b", random.Random(0), warmed=1) == "sks, a, b"


@given(tags, st.floats(0, 0.9), st.booleans(), seeds)
def test_a_caption_is_a_function_of_the_generator(tags, rate, wildcards, seed):
    pipeline = CaptionPipeline("sks", 1, True, wildcards=wildcards, dropout=rate / 4, tag_dropout=rate)
    caption = ", ".join(tags)
    assert pipeline(caption, random.Random(seed)) == pipeline(caption, random.Random(seed))


@pytest.mark.parametrize(
    "caption", ["red hat,, , blue hat,", "a,b,1,000 yen", "A girl, in the rain.", "tom &amp; jerry", "x ||| y"]
)
def test_without_shuffling_the_caption_is_read_as_it_stands(caption):
    assert CaptionPipeline()(caption, random.Random(0)) == caption
    assert CaptionPipeline("sks")(caption, random.Random(0)) == f"sks, {caption}"
    assert CaptionPipeline("sks")(f"sks,{caption}", random.Random(0)) == f"sks,{caption}"


def test_a_sentence_is_one_piece_unless_it_is_to_be_split():
    caption = "1girl, solo, A girl stands in the rain, holding a hat. It cost $1,000."
    finals = {CaptionPipeline(shuffle=True)(caption, random.Random(seed)) for seed in range(300)}
    assert len(finals) == 24
    assert all("A girl stands in the rain, holding a hat." in final and "$1,000" in final for final in finals)
    split = {CaptionPipeline(shuffle=True, split_sentences=True)(caption, random.Random(seed)) for seed in range(60)}
    assert any("A girl stands in the rain, holding a hat." not in final for final in split)
