from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.errors import UserError
from lib_lora.ui.values import lines, numbers, show, whole_numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [1.0]),
        ("0.6, 0.8,1.0", [0.6, 0.8, 1.0]),
        ("0.6…1.0 step 0.2", [0.6, 0.8, 1.0]),
        ("0.6-1.0:0.2", [0.6, 0.8, 1.0]),
        ("0.6...0.8", [0.6, 0.7, 0.8]),
        ("1.0-0.6:0.2", [1.0, 0.8, 0.6]),
        ("-1, .5, 1 to 2 step .5", [-1.0, 0.5, 1.0, 1.5, 2.0]),
        ("-1--0.5:0.25", [-1.0, -0.75, -0.5]),
        ("0.8, 0.6-1.0:0.2", [0.8, 0.6, 1.0]),
    ],
)
def test_lists_and_ranges(text: str, expected: list[float]) -> None:
    assert numbers(text, where="weights") == expected


@pytest.mark.parametrize("text", ["", " , ", "abc", "0.6-", "1-2:0", "1e3", "0-1:0.0001", "nan", "0.6-1.0:0.2:3"])
def test_unreadable_text_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(UserError) as error:
        numbers(text, where="weights")
    assert error.value.where == "weights"
    assert error.value.fix


def test_epochs_are_whole_and_ranges_count_by_one() -> None:
    assert whole_numbers("1, 4-6, 8-12:2", where="epochs") == [1, 4, 5, 6, 8, 10, 12]
    with pytest.raises(UserError, match=r"1\.5 is not a whole number"):
        whole_numbers("1.5", where="epochs")


@given(st.lists(st.integers(-400, 400).map(lambda n: n / 100), min_size=1, max_size=20, unique=True))
def test_shown_numbers_read_back(values: list[float]) -> None:
    assert numbers(show(values), where="weights") == values


def test_prompts_are_the_lines_that_are_not_empty() -> None:
    assert lines(" a, b \n\n c\n", where="prompts") == ["a, b", "c"]
    with pytest.raises(UserError):
        lines("\n \n", where="prompts")


def test_decimal_commas_are_read_or_asked_about() -> None:
    assert numbers("0,8; 1", where="Weights") == [0.8, 1.0]
    assert numbers("0,6, 0,8, 1", where="Weights") == [0.6, 0.8, 1.0]
    assert numbers("0,6-1,0:0,2; 2", where="Weights") == [0.6, 0.8, 1.0, 2.0]
    assert numbers("0.6,0.8,1", where="Weights") == [0.6, 0.8, 1.0]
    assert whole_numbers("1,2,4", where="Seeds") == [1, 2, 4]
    with pytest.raises(UserError, match="two ways") as error:
        numbers("0,8", where="Weights")
    assert error.value.fix == "Write 0.8 for one number, or 0, 8 for two"
