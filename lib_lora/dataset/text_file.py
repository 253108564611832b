"""Caption files as text and back, to the byte: encoding, mark at the front and line ends stay as they are."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from lib_lora.dataset.problems import BadFile, check_ends

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_LINE_END = re.compile(r"\r\n|\r|\n")
FIX = "Open it in a text editor and save it as UTF-8"


@dataclass(frozen=True)
class TextFile:
    """What a file says, and how it says it.

    Args:
        text: without the byte order mark; line ends as they are.
        mark: the byte order mark, if any.
    """

    text: str = ""
    encoding: str = "utf-8"
    mark: bytes = b""

    def encoded(self, text: str) -> bytes:
        """The bytes of a file of this kind that says ``text``."""
        return self.mark + text.encode(self.encoding)

    def typed(self, text: str) -> str:
        """``text`` as it comes back from a text field, where every line end is ``\\n``: lines that were not touched
        get their own line ends back, new ones the usual one of this file."""
        old, new = _lines(self.text), _lines(_LINE_END.sub("\n", text))
        ends = Counter(end[0] for end in _LINE_END.finditer(self.text))
        usual = ends.most_common(1)[0][0] if ends else "\n"
        plain = [_LINE_END.sub("\n", line) for line in old]
        out: list[str] = []
        for kind, a, b, c, d in SequenceMatcher(None, plain, new, autojunk=False).get_opcodes():
            out += old[a:b] if kind == "equal" else [line.replace("\n", usual) for line in new[c:d]]
        return "".join(out)


def plain_lines(text: str) -> str:
    """As a text field shows it: every line end is ``\\n``."""
    return _LINE_END.sub("\n", text)


def lines_of(text: str) -> tuple[str, ...]:
    """Lines that are not empty, without blanks around them; they end as in kohya, at CR and LF alone."""
    return tuple(line.strip() for line in _LINE_END.split(text) if line.strip())


def read_text_file(path: Path) -> TextFile:
    """A caption file in UTF-8, or in UTF-16 with its mark.

    Raises:
        BadFile: unreadable, or neither of both.
    """
    check_ends(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"its caption file {path.name} cannot be read ({error.strerror})"
        raise BadFile(what, where=path, fix="Check its permissions") from error
    return decoded(content, path)


def decoded(content: bytes, path: Path) -> TextFile:
    """`read_text_file` of bytes that were read already; ``path`` names them.

    Raises:
        BadFile: see there.
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise BadFile(f"its caption file {path.name} is not UTF-8 text", where=path, fix=FIX) from None
    if "\0" in text:
        raise BadFile(f"its caption file {path.name} is not plain text", where=path, fix=FIX)
    return TextFile(text, encoding, mark)


def _lines(text: str) -> list[str]:
    """With their ends; one without an end is the last."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
