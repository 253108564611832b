"""Other tags for a caption, as edits of its text: what no tag covers stays, byte for byte."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from lib_lora.dataset.tags.pieces import Piece, first_line, pieces

SEPARATOR = ", "
MOST_PAIRS = 400  # tags compared with tags to find which became which
_COMMA = re.compile(r"[^\S\r\n]*,[^\S\r\n]*")  # a separator that goes with the tag beside it
_BLANKS = re.compile(r"[^\S\r\n]+")  # between two sentences


def rewritten(text: str, tags: Sequence[str]) -> str:
    """``text`` with ``tags`` in place of the tags of its first line (`pieces`).

    Tags that stay keep their place and the separators around them; one that goes takes a comma along; a new one gets
    a comma as the caption has them. Tags that only change their order change places, and nothing else moves.
    """
    found = pieces(text)
    old = [piece.text for piece in found]
    if list(tags) == old:
        return text
    if not found:
        at = first_line(text)[0]
        return text[:at] + SEPARATOR.join(tags) + text[at:]
    if Counter(old) == Counter(tags):
        return _spliced(text, [(piece.start, piece.end, new) for piece, new in zip(found, tags, strict=True)])
    return _spliced(text, _edits(text, found, list(tags)))


def _edits(text: str, found: list[Piece], tags: list[str]) -> list[tuple[int, int, str]]:
    """(start, end, what stands there instead), in order and without overlap."""
    comma = _usual_separator(text, found)
    going = [False] * (len(found) + 1)  # the separators before each piece that go
    out: list[tuple[int, int, str]] = []
    for a, b, c, d in _differences([piece.text for piece in found], tags):
        kept = _paired([p.text for p in found[a:b]], tags[c:d])
        if d - c > b - a:
            kept, more = list(range(b - a)), tags[c + b - a : d]
            at = found[b - 1].end if b else found[0].start
        else:
            more, at = [], 0
        for number in range(a, b):
            if number - a in kept:
                piece = found[number]
                out.append((piece.start, piece.end, tags[c + kept.index(number - a)]))
            else:
                out.append((*_without(text, found, number, going), ""))
        if more:
            out.append((at, at, "".join(comma + tag if b else tag + comma for tag in more)))
    return out


def _differences(old: list[str], new: list[str]) -> list[tuple[int, int, int, int]]:
    """(a, b, c, d): ``new[c:d]`` stands where ``old[a:b]`` stood."""
    front = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    room = min(len(old), len(new)) - front
    back = next((n for n in range(room) if old[-1 - n] != new[-1 - n]), room)
    inner, outer = old[front : len(old) - back], new[front : len(new) - back]
    if not inner or not outer:
        return [(front, front + len(inner), front, front + len(outer))]
    codes = SequenceMatcher(None, inner, outer, autojunk=False).get_opcodes()
    return [(a + front, b + front, c + front, d + front) for kind, a, b, c, d in codes if kind != "equal"]


def _paired(old: list[str], new: list[str]) -> list[int]:
    """Which of the old tags the new ones, which are no more, stand for: in order, the most alike."""
    if not new or len(old) <= len(new) or len(old) * len(new) > MOST_PAIRS:
        return list(range(min(len(old), len(new))))
    first = 0
    out: list[int] = []
    for number, tag in enumerate(new):
        room = old[first : len(old) - (len(new) - number - 1)]
        ratios = [SequenceMatcher(None, tag, candidate).ratio() for candidate in room]
        first += ratios.index(max(ratios))
        out.append(first)
        first += 1
    return out


def _without(text: str, found: list[Piece], number: int, going: list[bool]) -> tuple[int, int]:
    """The span of a piece together with a separator that has not gone yet, if one belongs to nothing else."""
    start, end = found[number].start, found[number].end
    if number + 1 < len(found) and _goes(text[end : found[number + 1].start]):
        going[number + 1] = True
        return start, found[number + 1].start
    if number and not going[number] and _goes(text[found[number - 1].end : start]):
        return found[number - 1].end, end
    return start, end


def _goes(separator: str) -> bool:
    return bool(_COMMA.fullmatch(separator) or _BLANKS.fullmatch(separator))


def _usual_separator(text: str, found: list[Piece]) -> str:
    """A comma alone where the caption is written so, else a comma and a blank."""
    gaps = Counter(text[one.end : other.start] for one, other in pairwise(found))
    return "," if gaps and gaps.most_common(1)[0][0] == "," else SEPARATOR


def _spliced(text: str, edits: list[tuple[int, int, str]]) -> str:
    out, at = [], 0
    for start, end, new in edits:
        out += [text[at:start], new]
        at = end
    return "".join(out) + text[at:]
