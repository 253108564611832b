"""Small files of ours that a crash, another program or a hand may have damaged.

One that cannot be read costs itself: whoever can do without it takes :func:`tolerated`, and :func:`damage` says what is
wrong with it and what to do, to be shown where the file matters.
"""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from lib_lora.errors import UserError
from lib_lora.files import write_text

T = TypeVar("T")
LARGEST = 1 << 63  # a whole number from here on is no count, seed or step of ours
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError)


class Damaged(UserError):
    """A file that cannot be read."""


def write_json(path: Path, value: Any) -> None:
    """Write ``value``, atomically."""
    write_text(path, json.dumps(value, indent=1))


def load(path: Path, read: Callable[[Any], T], default: T) -> T:
    """What a JSON file holds, as ``read`` makes it out of the parsed content; ``default`` where there is none.

    Raises:
        Damaged: it is no file, no JSON, or ``read`` cannot make anything of it (any of :data:`UNREADABLE`).
    """
    try:
        return read(json.loads(plain_text(path))) if path.exists() else default
    except (OSError, *UNREADABLE) as error:
        fix = "Delete it, or put back a copy; everything else goes on without it"
        raise Damaged("This file is damaged", where=path, fix=fix) from error


def tolerated(path: Path, read: Callable[[Any], T], default: T) -> T:
    """:func:`load`, with ``default`` for a damaged file too."""
    try:
        return load(path, read, default)
    except Damaged:
        return default


def damage(path: Path, read: Callable[[Any], Any]) -> str:
    """What is wrong with a JSON file, in words; empty where nothing is."""
    try:
        load(path, read, None)
    except Damaged as error:
        return str(error)
    return ""


def set_aside(path: Path, read: Callable[[Any], Any]) -> None:
    """Keep a damaged file under another name, before it is written anew: somebody may still want what it says."""
    if damage(path, read):
        names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in range(1000))
        path.replace(next(name for name in names if not name.exists()))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A dict for each line of JSON; what is none is left out, such as a line that was cut off by a crash."""
    return parsed_lines(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else []


def parsed_lines(text: str) -> list[dict[str, Any]]:
    """The same of lines that were read already."""
    lines = text.splitlines()
    try:  # all at once takes a third of the time
        rows = json.loads(f"[{','.join(lines)}]")
    except UNREADABLE:
        rows = []
    if len(rows) != len(lines):
        rows = [row for line in lines for row in _parsed(line)]
    return [row for row in rows if isinstance(row, dict)]


def _parsed(line: str) -> list[Any]:
    try:
        return [json.loads(line)]
    except UNREADABLE:
        return []


def plain_text(path: Path) -> str:
    """A text file in UTF-8, in UTF-16 with its mark, or else as Windows wrote it before.

    Raises:
        OSError: there is no such file; a pipe, on which reading would wait for ever, is none.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "No such file", str(path))
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


# -- what is in them ---------------------------------------------------------------------------------------------------


def whole(value: Any, least: int = 0) -> int:
    """``value`` if it is a whole number from ``least`` on, else ValueError."""
    if type(value) is not int or not least <= value < LARGEST:
        raise ValueError(f"{value!r:.40} is no whole number from {least} on")
    return value


def number(value: Any) -> float:
    """``value`` as a float if it is a finite number, else ValueError."""
    if type(value) not in (int, float) or abs(value) > LARGEST or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is no number")
    return float(value)


def text(value: Any) -> str:
    """``value`` if it is text, else ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no text")
    return value


def path(value: Any) -> str:
    """``value`` if it is a path that a file system could have, else ValueError."""
    if "\0" in text(value) or any(len(part.encode(errors="replace")) > 255 for part in Path(value).parts):
        raise ValueError(f"{value!r:.40} is no path")
    return text(value)


def listed(value: Any, read: Callable[[Any], T]) -> list[T]:
    """A list whose items are read by ``read``, else ValueError."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.40} is no list")
    return [read(item) for item in value]


def mapping(value: Any) -> dict[str, Any]:
    """``value`` if it is an object, else ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.40} is no object")
    return value


def record(kind: type[T], value: Any) -> T:
    """A flat dataclass from an object of its fields; ValueError where one is missing, unknown or of a wrong type."""
    if not is_dataclass(kind):
        raise TypeError(f"{kind} is no dataclass")
    given, types = mapping(value), _types(kind)
    if unknown := set(given) - set(types):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if missing := required - set(given):
        raise ValueError(f"missing: {', '.join(sorted(missing))}")
    return typing.cast(T, kind(**{name: _typed(types[name], item) for name, item in given.items()}))


@cache
def _types(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _typed(kind: Any, value: Any) -> Any:
    if kind is int:
        return whole(value, -LARGEST)
    if kind is float:
        return number(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    raise ValueError(f"{value!r:.40} is no {kind}")
