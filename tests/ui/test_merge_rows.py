from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.errors import UserError
from lib_lora.ui.merge_rows import ALL, to_formula, to_rows, with_row

names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
weights = st.floats(-4, 4, allow_nan=False)
blocks = st.sampled_from([ALL, "GP1", "OUTD", "1,0,0.5"])


def test_rows_and_formula_say_the_same() -> None:
    rows = [("STYLE", 1, "GP1"), (None, 1.0, ALL), ("BASE", -1.0, "GP2"), ("x", 0.5, ALL)]
    formula = to_formula(rows)
    assert formula == "STYLE:1:GP1,BASE:-1:GP2,x:0.5"
    assert to_rows(formula, 4) == [("STYLE", 1.0, "GP1"), ("BASE", -1.0, "GP2"), ("x", 0.5, ALL), (None, 1.0, ALL)]


def test_a_row_takes_the_place_of_its_lora_or_the_end() -> None:
    row = ("mira", 0.8, "1,0,0.5")
    assert with_row("", row) == "mira:0.8:1,0,0.5"
    assert with_row("x:1,BASE:-1:GP2", row) == "x:1,BASE:-1:GP2,mira:0.8:1,0,0.5"
    assert with_row("x:1,mira:1:GP1,BASE:-1:GP2", row) == "x:1,mira:0.8:1,0,0.5,BASE:-1:GP2"
    assert with_row("mira:1:GP1", ("mira", 1.0, ALL)) == "mira:1"


@given(st.lists(st.tuples(names, weights, blocks), max_size=5))
def test_rows_survive_the_way_through_the_formula(rows: list[tuple[str, float, str]]) -> None:
    assert to_rows(to_formula(rows), 5)[: len(rows)] == rows


def test_a_row_without_a_weight_is_refused() -> None:
    with pytest.raises(UserError, match="weight of mira is empty"):
        to_formula([("mira", None, ALL)])
