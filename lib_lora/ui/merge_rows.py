"""The rows of the merge tab and the formula are the same thing in two spellings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib_lora.adapters.formula import Term, parse, render
from lib_lora.errors import UserError

ALL = "ALL"  # shown in a row whose term has no block weights

Row = tuple[Any, Any, Any]  # LoRA, weight, blocks, as the fields have them


def to_formula(rows: Sequence[Row]) -> str:
    """The formula of the rows that name a LoRA.

    Raises:
        UserError: a row without a weight.
    """
    terms = []
    for number, (name, weight, blocks) in enumerate(rows, start=1):
        if not name:
            continue
        if weight is None:
            raise UserError(f"The weight of {name} is empty", where=f"row {number}", fix="Type 1, or -1 to subtract")
        blocks = (blocks or ALL).strip()
        terms.append(Term(name, float(weight), None if blocks == ALL else blocks))
    return render(terms)


def with_row(formula: str, row: Row) -> str:
    """The formula in which the LoRA of ``row`` has that weight and those blocks; at the end where it is new.

    Raises:
        UserError: the formula cannot be read.
    """
    rows: list[Row] = [(term.name, term.weight, term.blocks) for term in (parse(formula) if formula.strip() else [])]
    names = [name for name, _, _ in rows]
    place = names.index(row[0]) if row[0] in names else len(rows)
    rows[place : place + 1] = [row]
    return to_formula(rows)


def to_rows(formula: str, count: int) -> list[Row]:
    """The first ``count`` terms of a formula as rows; rows that are left over are empty.

    Raises:
        UserError: the formula cannot be read.
    """
    terms = parse(formula) if formula.strip() else []
    rows: list[Row] = [(term.name, term.weight, term.blocks or ALL) for term in terms[:count]]
    return rows + [(None, 1.0, ALL)] * (count - len(rows))
