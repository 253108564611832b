"""The pieces of a caption as spans of its text: tags parted by commas, and sentences, which stay whole."""

from __future__ import annotations

import re
from typing import NamedTuple

KEEP_SEPARATOR = "|||"  # kohya's usual one: what stands before it is not shuffled
LEAST_WORDS = 3  # of a sentence that ends in a full stop
PROSE_WORDS = 5  # of one that does not
_LINE = re.compile(r"[^\r\n]+")
_COMMA = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![^\W_]|,\d)|,|\|\|\|")  # the first: a number such as 1,000
_STOP = re.compile(r"(?<=[\w\"'”’)\]%])[.!?…]+[\"'”’)\]]*(?=[\s,]|$)|[。！？]+[」』”）]*")
_SIGNAL = re.compile(  # words that tags hardly ever have
    r"(?<![\w'-])(a|an|the|is|are|was|were|has|have|she|he|they|it|her|his|their|its)(?![\w'-]|\.\w)", re.I
)
_SHORTENED = re.compile(r"(?:^|[\s.(])(?:dr|mr|mrs|ms|st|vs|no|vol|ver|feat|ft|etc|jr|sr|\w)\.$", re.I)

_OPENING = frozenset(("In", "On", "At", "With", "Under", "Behind", "Inside", "Outside", "This", "There"))


class Piece(NamedTuple):
    """``text[start:end]`` of a caption, without blanks around it."""

    start: int
    end: int
    text: str


def pieces(text: str) -> list[Piece]:
    """Tags and sentences of the first line of ``text`` that is not empty, which is the one that training reads.

    A comma parts two tags, but neither the thousands of a number (``1,000``) nor what belongs to one sentence. A
    sentence ends in a full stop, or is a line of prose such as "a photo of a dog sitting on the beach".
    """
    start, end = first_line(text)
    atoms = _atoms(text, start, end)
    return _with_sentences(text, atoms) if _SIGNAL.search(text, start, end) or _STOP.search(text, start, end) else atoms


def first_line(text: str) -> tuple[int, int]:
    """Where the first line with something in it begins and ends, blanks around it left out; ends as in kohya."""
    line = next((found for found in _LINE.finditer(text) if found[0].strip()), None)
    if line is None:
        return 0, 0
    return _piece(text, line.start(), line.end())[:2]


def split_pieces(text: str) -> list[str]:
    """The texts of `pieces`."""
    return [piece.text for piece in pieces(text)]


def is_sentence(piece: str) -> bool:
    """Whether a piece is prose: not counted, sorted into spellings or pruned as a tag."""
    if not any(letter.isspace() for letter in piece):
        return _ends(piece) and piece[-1] in "。！？" and len(piece) > PROSE_WORDS
    return _stopped(piece) if _ends(piece) else _prose(piece)


def _atoms(text: str, start: int, end: int) -> list[Piece]:
    """What stands between commas."""
    found, at = [], start
    for comma in _COMMA.finditer(text, start, end):
        if comma[0] in (",", KEEP_SEPARATOR):
            found.append(_piece(text, at, comma.start()))
            at = comma.end()
    found.append(_piece(text, at, end))
    return [atom for atom in found if atom.text]


def _with_sentences(text: str, atoms: list[Piece]) -> list[Piece]:
    """Atoms joined, and cut at full stops, where they are sentences."""
    out: list[Piece] = []
    waiting: list[Piece] = []
    for atom in atoms:
        at = atom.start
        for stop in _STOP.finditer(text, atom.start, atom.end):
            if stop.end() < atoms[-1].end and _SHORTENED.search(text, at, stop.end()):
                continue
            last = _piece(text, at, stop.end())
            begin = _beginning(text, [*waiting, last])
            if begin is None:
                continue
            out += [*waiting, last][:begin]
            out.append(_piece(text, [*waiting, last][begin].start, stop.end()))
            waiting, at = [], stop.end()
        rest = _piece(text, at, atom.end)
        if rest.text:
            waiting.append(rest)
    if len(waiting) > 1 and _prose_of_atoms(text, waiting):
        waiting = [_piece(text, waiting[0].start, waiting[-1].end)]
    return out + waiting


def _beginning(text: str, atoms: list[Piece]) -> int | None:
    """At which atom the sentence begins that ends with the last one; None when there is no sentence."""

    def reads(number: int) -> bool:
        return _stopped(text[atoms[number].start : atoms[-1].end])

    opening = [number for number, atom in enumerate(atoms) if _opens(atom.text) and reads(number)]
    if opening:
        return opening[0]
    if atoms[0].text[:1].isupper() and len(atoms) > 1 and atoms[1].text[:1].islower() and reads(0):
        return 0
    return next((n for n, atom in enumerate(atoms) if _speaks(atom.text) and reads(n)), None)


def _opens(atom: str) -> bool:
    """Begins like a sentence: a capital letter, and a word in small letters after it; "Hatsune Miku" does not."""
    words = atom.lstrip("\"'“‘(").split()
    if len(words) < 2 or not words[0][:1].isupper():
        return False
    return words[0] in _OPENING or any(word[:1].islower() for word in words[1:])


def _speaks(atom: str) -> bool:
    return atom[-1] in "。！？" or _SIGNAL.search(atom) is not None


def _stopped(text: str) -> bool:
    """Whether what ends in a full stop is a sentence."""
    words = [word for word in text.split() if word[:1].isalnum()]
    if text[-1] in "。！？」』":
        return len(text) > PROSE_WORDS
    return len(words) >= LEAST_WORDS and (_opens(text) or _SIGNAL.search(text) is not None)


def _prose(text: str) -> bool:
    """Whether what has no full stop is prose; names such as "a certain magical index" are short, or only say "the"."""
    words = len(text.split())
    signals = {found.lower() for found in _SIGNAL.findall(text)}
    return (words >= PROSE_WORDS and bool(signals - {"the"})) or (words >= PROSE_WORDS - 1 and len(signals) > 1)


def _prose_of_atoms(text: str, atoms: list[Piece]) -> bool:
    whole = text[atoms[0].start : atoms[-1].end]
    return _prose(atoms[0].text) and 2 * len(_SIGNAL.findall(whole)) > len(atoms)


def _ends(text: str) -> bool:
    return bool(text) and any(stop.end() == len(text) for stop in _STOP.finditer(text))


def _piece(text: str, start: int, end: int) -> Piece:
    part = text[start:end]
    core = part.strip()
    start += part.index(core[0]) if core else 0
    return Piece(start, start + len(core), core)
