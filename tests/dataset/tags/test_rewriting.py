"""What an edit does not name stays, byte for byte: over captions of every kind, made by chance."""

from __future__ import annotations

import codecs
import random
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.edits import (
    Add,
    Normalise,
    PruneImplied,
    Remove,
    Replace,
    ReplacePattern,
    Sort,
    deduplicate,
)
from lib_lora.dataset.tags.pieces import first_line, pieces, split_pieces
from lib_lora.dataset.tags.rewriting import rewritten
from lib_lora.dataset.text_file import decoded

CAPTIONS = 20_000
TAGS = (
    "1girl",
    "solo",
    "red hat",
    "long_hair",
    "hat",
    "mira",
    "rating: general",
    "artist:wlop",
    "R&B",
    "tom &amp; jerry",
    "&#039;",
    "1,000 yen",
    "12,345",
    "^_^",
    ":3",
    "...",
    "(smile:1.2)",
    r"nero \(fate\)",
    "nero (fate)",
    "{a|b}",
    "A.I.",
    "<lora:x:1>",
    "赤い帽子",
    "café",
    "éclair",
    "🎨",
    "a  b",
    "mr. fox",
    "hand on own hip",
    "\u00a0x\u200b",
    "\u2028",
    '"x"',
)
SENTENCES = (
    "A girl stands in the rain, with a hat.",
    "She is wet, cold and tired.",
    "a photo of sks_dog on the beach",
    "It cost $1,000.50 at 5 p.m. today!",
    "少女が雨の中に立つ。",
)
SEPARATORS = (", ",) * 6 + (",",) * 3 + (" ,", ",  ", ",, ", ",\t", " ||| ", " , , ")
ENDS = ("", "", "", "\n", "\r\n", ",", ", \n", " ", "\nsecond line, red hat\n", "\r\n\r\n# note\r\n", "\rold Mac")
FRONTS = ("", "", "", " ", "\n", "\r\n ", ",")
NEW = ("NEW", "mira")
EDITS = (
    Add(NEW),
    Add(NEW, first=True),
    Remove(("red hat", "solo", "R&B", "1,000 yen")),
    Replace(("mira", "hat"), ("NEW",)),
    ReplacePattern("hat", "cap"),
    ReplacePattern("^s.*", ""),
    Sort(keep=1),
    Normalise(),
    Normalise(True, True),
    PruneImplied(),
    deduplicate,
)


def some_caption(rng: random.Random) -> str:
    out = [rng.choice(FRONTS)]
    for _ in range(rng.choice((0, 1, 2, 3, 5, 9))):
        out += [rng.choice(SENTENCES) if rng.random() < 0.08 else rng.choice(TAGS), rng.choice(SEPARATORS)]
    return "".join(out[:-1] if rng.random() < 0.8 else out) + rng.choice(ENDS)


def between(text: str) -> list[str]:
    """What no piece of the first line covers, in order."""
    found = pieces(text)
    starts, ends = [piece.start for piece in found], [piece.end for piece in found]
    return [text[a:b] for a, b in zip([0, *ends], [*starts, len(text)], strict=True)]


def inserted(text: str, new: str) -> bool:
    """Whether ``new`` is ``text`` with something put in at one place."""
    front = next((i for i, (a, b) in enumerate(zip(text, new, strict=False)) if a != b), len(text))
    return new.endswith(text[front:])


def is_part_of(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


def test_whatever_an_edit_does_not_name_stays():
    rng = random.Random(13)
    kinds = dict.fromkeys(("same", "in place", "less", "more"), 0)
    for _ in range(CAPTIONS):
        text, edit = some_caption(rng), rng.choice(EDITS)
        old = tuple(split_pieces(text))
        tags = edit(old)
        new = rewritten(text, tags)
        line, now = first_line(text)[1], first_line(new)[1]
        if tags:  # the other lines
            assert new[now:].lstrip(", \t\xa0|") == text[line:].lstrip(", \t\xa0|"), (text, new)
        if tags == old:
            kinds["same"] += 1
            assert new == text
        elif len(tags) == len(old) and not isinstance(edit, Add):
            kinds["in place"] += 1
            assert new == "".join(a + b for a, b in zip(between(text), (*tags, ""), strict=True)), text
        elif len(tags) < len(old):
            kinds["less"] += 1
            moved = isinstance(edit, (Normalise, Add))  # Add takes a tag that is there to the front, once
            assert is_part_of(re.sub("cap|NEW", "", new), text) or moved, (text, new)
            gone = sum(map(len, old)) - sum(map(len, tags)) + 4 * (len(old) - len(tags))
            assert len(text) - len(new) <= gone, (text, new)
        elif not any(tag in old for tag in NEW):
            kinds["more"] += 1
            assert inserted(text, new), (text, new)
    assert min(kinds.values()) > 1000, kinds


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_encodings_and_marks_stay(mark, encoding):
    content = mark + "1girl, café\r\n図".encode(encoding)
    file = decoded(content, Path("a.txt"))
    assert file.encoded(file.text) == content
    assert file.encoded(rewritten(file.text, ("mira", "1girl", "café"))) == mark + "mira, 1girl, café\r\n図".encode(
        encoding
    )


def test_typed_lines_get_their_own_ends_back():
    file = decoded(b"a\r\nb\rc\nd\r\n", Path("a.txt"))
    assert file.typed("a\nb\nc\nd\n") == file.text
    assert file.typed("a\nx\nb\nc\nd\ne\n") == "a\r\nx\r\nb\rc\nd\r\ne\r\n"
    assert file.typed("a\nb\nc") == "a\r\nb\rc"


def test_undo_restores_every_byte(tmp_path):
    """Of generated captions in several encodings, after several edits; some pictures have no caption."""
    rng = random.Random(17)
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    for number in range(80):
        shutil.copy(tmp_path / "one.png", folder / f"{number}.png")
        if number % 20:
            encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
            (folder / f"{number}.txt").write_bytes(some_caption(rng).encode(encoding))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    editor = DatasetEditor([folder], tmp_path / "cache")
    for edit in (Add(NEW), Replace(("mira", "hat"), ("NEW",)), Normalise(True, True), Sort(keep=1), deduplicate):
        editor.apply(editor.plan_tags(edit, "an edit"))
    changed = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert len([name for name in changed if changed[name] != before.get(name)]) == 80
    for _ in range(5):
        editor.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
