from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.tags.index import TagFilter, TagIndex, token_chunks
from tests.pace import within

ROWS = [("mira", "red hair", "solo"), ("mira", "blue hair"), ("tomo", "red hair", "[x]"), ()]
tags = st.sampled_from(["a", "b", "c", "ab"])


def test_filters_combine():
    index = TagIndex(ROWS)
    assert index.select(TagFilter()) == [0, 1, 2, 3]
    assert index.select(TagFilter(all_of=("mira", "red hair"))) == [0]
    assert index.select(TagFilter(any_of=("solo", "blue hair"))) == [0, 1]
    assert index.select(TagFilter(any_of=("* hair",), none_of=("solo",))) == [1, 2]
    assert index.select(TagFilter(all_of=("[x]",))) == index.select(TagFilter(all_of=("[?]",))) == [2]
    assert index.select(TagFilter(all_of=("unknown",))) == []


def test_sentences_are_searched_by_their_words_and_not_counted():
    index = TagIndex([("1girl", "A girl with a red umbrella."), ("red umbrella",), ()], {2: "She holds Red Umbrellas"})
    assert index.select(TagFilter(("red umbrella",))) == [0, 1]
    assert index.select(TagFilter(("red umbrella*",))) == [0, 1, 2] and index.lacking(["umbrella"]) == [1, 2]
    assert index.frequencies() == [("1girl", 1), ("red umbrella", 1)]


def test_frequencies_gaps_and_completion():
    index = TagIndex(ROWS)
    assert index.frequencies()[:2] == [("mira", 2), ("red hair", 2)]
    assert index.lacking(["mira"]) == [2, 3]
    assert index.complete("ha") == ["red hair", "blue hair"]


def test_token_chunks():
    assert token_chunks(["a" * 10, "a" * 75, "a" * 76, ""], len) == {75: 3, 150: 1}


@given(st.lists(st.lists(tags, max_size=4)), st.lists(tags, max_size=2), st.lists(tags, max_size=2), st.lists(tags))
def test_filter_means_what_it_says(rows, all_of, any_of, none_of):
    found = TagIndex(rows).select(TagFilter(tuple(all_of), tuple(any_of), tuple(none_of)))
    expected = [
        row
        for row, have in enumerate(rows)
        if set(all_of) <= set(have) and (not any_of or set(any_of) & set(have)) and not set(none_of) & set(have)
    ]
    assert found == expected


def test_ten_thousand_pictures_are_filtered_at_once():
    rows = [[f"tag {(row * step) % 997}" for step in range(1, 31)] for row in range(10_000)]
    index = TagIndex(rows)
    with within(0.3):
        assert index.select(TagFilter(("tag 1*",), ("tag 5", "tag 6"), ("tag 7?",)))
