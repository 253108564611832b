"""Merge formulas: ``NAME:weight[:BLOCKS],…`` with BLOCKS a preset's name or a list of numbers.

Grammar (blanks around names, numbers and separators do not count)::

    formula = term { "," term }
    term    = name ":" number [ ":" blocks ]
    name    = text without , : "  |  '"' text with every " doubled '"'
    blocks  = preset name | number { "," number }

The comma inside a block list and the one between terms are told apart by the colon that every term has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from lib_lora.bounds import FORMULA
from lib_lora.errors import UserError

EXAMPLE = "Write for example STYLE:1:GP1,BASE:-1:GP2."
_PART = re.compile(r'\s*("(?:[^"]|"")*"|[^,:"]*)\s*([,:]|$)')
_PLAIN = re.compile(r'[^,:"\s](?:[^,:"]*[^,:"\s])?')


@dataclass(frozen=True)
class Term:
    """One LoRA of a formula; ``blocks`` is a preset's name, numbers with commas, or None for every block alike."""

    name: str
    weight: float
    blocks: str | None = None


def parse(text: str) -> list[Term]:
    """The terms of a formula.

    Raises:
        UserError: quoting the part that is wrong.
    """
    if len(text) > FORMULA:
        raise _error(f"A formula of {len(text):,} characters is too long, the most are {FORMULA:,}")
    items: list[list[str]] = []
    for parts in _items(text):
        continues_blocks = items and len(items[-1]) == 3 and len(parts) == 1
        if continues_blocks:
            items[-1][2] += "," + parts[0]
        else:
            items.append(parts)
    return [_term(parts) for parts in items]


def render(terms: Iterable[Term]) -> str:
    """A formula that :func:`parse` reads back exactly."""
    return ",".join(
        ":".join([_quoted(t.name), repr(float(t.weight)).removesuffix(".0"), *([] if t.blocks is None else [t.blocks])])
        for t in terms
    )


def _items(text: str) -> list[list[str]]:
    """The formula cut at commas, each item cut at colons, quotes kept."""
    items: list[list[str]] = [[]]
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            raise _error(f"Cannot read the formula from {text[position:]!r} on")
        items[-1].append(match[1].strip())
        position = match.end()
        if match[2] == ",":
            items.append([])
        elif match[2] == "":
            return items


def _term(parts: list[str]) -> Term:
    shown = ":".join(parts)
    if len(parts) not in (2, 3) or not parts[0]:
        raise _error(f"{shown!r} is not NAME:weight or NAME:weight:BLOCKS")
    try:
        weight = float(parts[1])
    except ValueError:
        raise _error(f"{parts[1]!r} in {shown!r} is not a number") from None
    if not math.isfinite(weight):
        raise _error(f"The weight in {shown!r} is not finite")
    blocks = parts[2] if len(parts) == 3 else None
    if blocks == "":
        raise _error(f"The block weights in {shown!r} are empty")
    return Term(_unquoted(parts[0]), weight, blocks)


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _error(what: str) -> UserError:
    return UserError(what, where="formula", fix=EXAMPLE + ' Names with , or : go in quotes: "a,b":1.')
