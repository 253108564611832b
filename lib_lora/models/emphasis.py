"""A prompt's weights: ``(tag)``, ``(tag:1.2)``, ``[tag]`` and ``\\(`` as the web UI reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

ROUND, SQUARE = 1.1, 1 / 1.1
_TOKEN = re.compile(r"\\[()\[\]\\]|[(\[]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:|\\")


def parse(text: str) -> list[tuple[str, float]]:
    """Pieces of text with their weights; brackets multiply, those that are never closed count to the end."""
    pieces: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        pieces[start:] = [(piece, weight * factor) for piece, weight in pieces[start:]]

    for found in _TOKEN.finditer(text):
        token, number = found[0], found[1]
        if token in opened:
            opened[token].append(len(pieces))
        elif number is not None and opened["("]:
            weigh(opened["("].pop(), float(number))
        elif token == ")" and opened["("]:
            weigh(opened["("].pop(), ROUND)
        elif token == "]" and opened["["]:
            weigh(opened["["].pop(), SQUARE)
        else:
            pieces.append((token[1:] if token[0] == "\\" and len(token) == 2 else token, 1.0))
    for start in opened["("]:
        weigh(start, ROUND)
    for start in opened["["]:
        weigh(start, SQUARE)
    return _merged(pieces)


def weighted_tokens(text: str, tokens: Callable[[str], Sequence[int]]) -> tuple[list[int], list[float]]:
    """(ids, weight of each) of a caption, piece by piece."""
    ids: list[int] = []
    weights: list[float] = []
    for piece, weight in parse(text):
        found = list(tokens(piece))
        ids += found
        weights += [weight] * len(found)
    return ids, weights


def _merged(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    merged: list[tuple[str, float]] = []
    for piece, weight in pieces:
        if merged and merged[-1][1] == weight:
            merged[-1] = (merged[-1][0] + piece, weight)
        else:
            merged.append((piece, weight))
    return merged
