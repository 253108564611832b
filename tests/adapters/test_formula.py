from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.adapters.formula import Term, parse, render
from lib_lora.errors import UserError

numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.text(st.characters(exclude_characters=',:"', exclude_categories=["Z", "C"]), min_size=1)
number_lists = st.lists(st.floats(-2, 2), min_size=1, max_size=26).map(lambda v: ",".join(map(repr, v)))
terms = st.builds(Term, st.text(min_size=1), numbers, st.none() | plain | number_lists)


@given(st.lists(terms, min_size=1, max_size=4))
def test_round_trip(formula):
    assert parse(render(formula)) == formula


def test_the_guide():
    assert parse("Test0:1:GP1,BASE:-1:GP2") == [Term("Test0", 1, "GP1"), Term("BASE", -1, "GP2")]


def test_inline_numbers_end_where_the_next_name_begins():
    assert parse("A:0.5:1,0, 0.3 ,B:-1") == [Term("A", 0.5, "1,0,0.3"), Term("B", -1)]


def test_blanks_do_not_count():
    assert parse("  A : 1 : GP1 , my lora:2 ") == [Term("A", 1, "GP1"), Term("my lora", 2)]


def test_names_with_separators_and_folders():
    assert parse('"C:\\x\\a,b":1,style/one:2') == [Term("C:\\x\\a,b", 1), Term("style/one", 2)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not NAME:weight"),
        ("A", "'A' is not NAME:weight"),
        ("A:1,B", "'B' is not NAME:weight"),
        ("A:x", "'x' in 'A:x' is not a number"),
        ("A:nan", "not finite"),
        ("A:1:", "empty"),
        (":1", "not NAME:weight"),
        ("A:1:GP1:2", "not NAME:weight"),
        ('"A:1', "Cannot read"),
        ('A"b":1', "Cannot read"),
    ],
)
def test_errors_quote_the_part(text, complaint):
    with pytest.raises(UserError, match="formula") as error:
        parse(text)
    assert complaint in error.value.what


def test_named_block_weights_stay_one_text():
    terms = parse("A:-0.5:te=0.3,unet=-1,B:1:NOT M00=0")
    assert [term.blocks for term in terms] == ["te=0.3,unet=-1", "NOT M00=0"]
    assert parse(render(terms)) == terms
