from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.caption import CaptionPipeline, split_tags, swap_sides

tags = st.lists(st.text("abAB ()[]\\{}:<>_1.9é左", min_size=1).map(str.strip).filter(bool), max_size=8)
seeds = st.integers(0, 2**32)


@given(tags, seeds)
def test_shuffling_is_a_permutation_and_everything_is_literal(tags, seed):
    final = CaptionPipeline(shuffle=True)(", ".join(tags), random.Random(seed))
    assert sorted(split_tags(final)) == sorted(tags)


@given(tags, st.integers(0, 9), seeds)
def test_kept_tags_stay_in_front(tags, keep, seed):
    final = CaptionPipeline(keep_tokens=keep, shuffle=True)(", ".join(tags), random.Random(seed))
    assert split_tags(final)[:keep] == tags[:keep]


@given(tags, st.booleans(), st.booleans(), seeds)
def test_the_trigger_is_first_and_only_once(tags, shuffle, flipped, seed):
    pipeline = CaptionPipeline("sks, left_behind_1", 1, shuffle)
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
