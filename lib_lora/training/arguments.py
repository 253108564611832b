"""Arguments as people write them: ``weight_decay=0.1 betas=(0.9, 0.99)``, in quotes, lists, with commas or blanks."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

NAME = re.compile(r"""(?<![\w.)\]'"=-])(?:--)?["']?([A-Za-z_][\w.-]*)["']?\s*=\s*""")
# of chats, word processors and full-width keyboards
TYPOGRAPHIC = str.maketrans("“”„‟‘’‚（）［］＝，；：", '""""' + "'''" + "()[]=,;:")
SEPARATORS = " \t\r\n,;"
LONGEST = 20_000  # characters; what is longer is no list of arguments


def pairs(value: Any) -> tuple[dict[str, Any], list[str]]:
    """Name -> value of every argument, and what stands between them and is none.

    Args:
        value: a text, a list of texts (each with one argument or several), or a mapping, whose values stay as they
            are; those in a text are texts, without the quotes around them.
    """
    if isinstance(value, Mapping):
        return {str(name): v for name, v in value.items()}, []
    found: dict[str, Any] = {}
    rest: list[str] = []
    for text in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        named, other = pairs(text) if isinstance(text, Mapping) else _scanned(str(text))
        found |= named
        rest += other
    return found, rest


def literal(value: Any) -> Any:
    """A text as the Python literal that it is; all else, and a text that is none, as it stands."""
    if not isinstance(value, str) or len(value) > LONGEST:
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"true": True, "false": False, "none": None, "null": None}.get(value.strip().lower(), value)


def _scanned(text: str) -> tuple[dict[str, Any], list[str]]:
    text = text.translate(TYPOGRAPHIC).strip().replace('\\"', '"')
    if len(text) > LONGEST:
        return {}, [text[:60] + "…"]
    whole = literal(text) if text[:1] in ("{", "[") else None
    if isinstance(whole, dict) or (isinstance(whole, list) and all(isinstance(part, str) for part in whole)):
        return pairs(whole)
    depth = _depths(text)
    closed = depth[-1] == 0  # else brackets say nothing about where an argument ends
    matches = [match for match in NAME.finditer(text) if depth[match.start()] <= 0 or not closed]
    ends = [match.start() for match in matches] + [len(text)]
    found = {match[1]: _bare(text[match.end() : end]) for match, end in zip(matches, ends[1:], strict=True)}
    before = text[: ends[0]].strip(SEPARATORS + "\"'{[(")
    return found, [before] if before else []


def _depths(text: str) -> list[int]:
    """How many brackets are open at each character."""
    opened = ((char in "([{") - (char in ")]}") for char in text)
    return list(accumulate(opened, initial=0))


def _bare(text: str) -> str:
    """A value without the separators and the odd quotes around it."""
    text = text.strip(SEPARATORS)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].strip(SEPARATORS)
    for quote in "\"'":
        if text.count(quote) == 1:
            text = text.removeprefix(quote).removesuffix(quote)
    return text.strip(SEPARATORS)
