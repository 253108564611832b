from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.tags.edits import (
    Add,
    Normalise,
    PruneImplied,
    Remove,
    Replace,
    ReplacePattern,
    Sort,
    chain,
    deduplicate,
)
from lib_lora.errors import UserError

words = st.text("ab_ ()^\\", min_size=1, max_size=6).map(str.strip).filter(bool)
tag_lists = st.lists(words, max_size=8).map(tuple)


def test_the_trigger_goes_first_and_is_not_repeated():
    assert Add(("mira",), first=True)(("1girl", "mira", "solo")) == ("mira", "1girl", "solo")
    assert Add(("solo", "smile"))(("1girl", "solo")) == ("1girl", "solo", "smile")


def test_replace_puts_new_tags_where_the_first_old_one_was():
    assert Replace(("a", "c"), ("x",))(("0", "a", "b", "c")) == ("0", "x", "b")
    assert Replace(("a",), ("b",))(("a", "b")) == ("b",)
    assert Replace(("z",), ("b",))(("a", "a")) == ("a", "a")


def test_patterns_replace_inside_tags():
    assert ReplacePattern(r"^(\w+) hair$", r"hair, \1")(("red hair", "solo")) == ("hair", "red", "solo")
    assert ReplacePattern("SOLO", "", ignore_case=True)(("solo", "x")) == ("x",)
    for pattern, replacement in (("(", ""), ("a", r"\1"), ("a", r"\g<name>")):
        with pytest.raises(UserError, match="pattern"):
            ReplacePattern(pattern, replacement)


def test_sorting_keeps_the_front():
    assert Sort(keep=1)(("mira", "b", "A", "c")) == ("mira", "A", "b", "c")
    assert Sort({"c": 3, "b": 5})(("a", "c", "b")) == ("b", "c", "a")


def test_spelling():
    tags = ("long_hair", "^_^", r"mira \(series\)", "mira (series)", "long hair")
    assert Normalise()(tags) == ("long hair", "^_^", "mira (series)")
    assert Normalise(underscores=True, escaped=True)(tags) == ("long_hair", "^_^", r"mira_\(series\)")


def test_implied_tags_go():
    tags = ("hair", "very long hair", "long hair", "white shirt", "shirt", "no shoes", "shoes")
    assert PruneImplied()(tags) == ("hair", "very long hair", "white shirt", "no shoes", "shoes")
    assert PruneImplied({"kimono": frozenset({"japanese clothes"})}, keep=0)(("japanese clothes", "kimono")) == (
        "kimono",
    )


@given(tag_lists, words)
def test_adding_then_removing_leaves_the_rest_alone(tags, tag):
    rest = tuple(t for t in tags if t != tag)
    assert Remove((tag,))(Add((tag,), first=True)(tags)) == rest
    assert Remove((tag,))(Add((tag,))(tags)) == rest


@given(tag_lists)
def test_these_edits_do_the_same_when_done_twice(tags):
    for edit in (Add(("a",), first=True), Remove(("a",)), Sort(keep=1), Normalise(), PruneImplied(), deduplicate):
        assert edit(edit(tags)) == edit(tags)


@given(tag_lists)
def test_nothing_is_invented(tags):
    for edit in (Remove(("a",)), Sort(), PruneImplied(), deduplicate):
        assert set(edit(tags)) <= set(tags)
    assert sorted(Sort()(tags)) == sorted(tags)
    assert chain(Sort(), deduplicate)(tags) == deduplicate(Sort()(tags))
