"""Tag text of boorus and downloaders -> lists of tags. What a user wrote is read by `pieces`, and never changed."""

from __future__ import annotations

import html
import re

# Tags whose underscores are part of a face (WD taggers' list)
KAOMOJI_TEXT = "0_0 (o)_(o) +_+ +_- ._. <o>_<o> <|>_<|> =_= >_< 3_3 6_9 >_o @_@ ^_^ o_o u_u x_x |_| ||_||"
KAOMOJI = frozenset(KAOMOJI_TEXT.split())
_ESCAPED_BRACKET = re.compile(r"\\+([()\[\]{}])")
_PLAIN_BRACKET = re.compile(r"(?<!\\)([()])")


def split_text(text: str) -> list[str]:
    """Tags of a downloader's side-car: split at commas, else at line ends, else at blanks where it is booru text.

    Text without commas is booru text when some word of it holds an underscore (``1girl long_hair``); otherwise it is
    one caption in words. With commas, the first line that is not empty counts. HTML entities are decoded (Gelbooru
    writes ``&#039;``).
    """
    lines = [line.strip() for line in html.unescape(text).splitlines() if line.strip()]
    if not lines:
        return []
    if "," in lines[0]:
        return [tag for part in lines[0].split(",") if (tag := part.strip())]
    if len(lines) > 1:
        return lines
    words = lines[0].split()
    return words if any("_" in word for word in words) else lines


def split_booru(text: str) -> list[str]:
    """Tags of Danbooru's ``tag_string`` or Gelbooru's ``tags``: parted by blanks, HTML entities decoded."""
    return html.unescape(text).split()


def with_spaces(tag: str) -> str:
    """Underscores -> blanks, except in kaomoji: ``long_hair`` -> ``long hair``, ``^_^`` stays."""
    return tag if tag in KAOMOJI else tag.replace("_", " ").strip()


def with_underscores(tag: str) -> str:
    """Blanks -> underscores."""
    return tag.replace(" ", "_")


def plain_brackets(tag: str) -> str:
    """``name \\(series\\)`` -> ``name (series)``, the form of training captions."""
    return _ESCAPED_BRACKET.sub(r"\1", tag)


def escaped_brackets(tag: str) -> str:
    """``name (series)`` -> ``name \\(series\\)``, the form of web UI prompts; what is escaped stays so."""
    return _PLAIN_BRACKET.sub(r"\\\1", tag)


def imported(tag: str) -> str:
    """A booru's tag in the form of training captions."""
    return plain_brackets(with_spaces(html.unescape(tag).strip()))


def join(tags: tuple[str, ...] | list[str]) -> str:
    """The caption line of a list of tags."""
    return ", ".join(tags)
