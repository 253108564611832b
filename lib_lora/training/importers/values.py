"""One value of another program's file as the kind of value that is wanted, or the reason why it is none."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import Field
from pathlib import PureWindowsPath
from typing import Any

from lib_lora.training.arguments import literal
from lib_lora.training.config import default_of
from lib_lora.training.config_groups.setting import is_other

NOTHING = ("", "none", "null", "nil")  # what files have where a value is not given
SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
LONGEST = 100_000  # characters of one text


class Unreadable(ValueError):
    """A value is not what its key needs; the message says what it is instead."""


def is_nothing(value: Any) -> bool:
    """Whether a key is there without a value."""
    if isinstance(value, str):
        return value.strip().lower() in NOTHING
    return value is None or (isinstance(value, (list, dict)) and not value)


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested beyond measure; a number of thousands of digits
        return "what is there"
    return text if len(text) <= 60 else text[:57] + "…"


def number(value: Any) -> float:
    """A finite number: 1, "1e-4", "0,0001", "5%"."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Unreadable(f"{shown(value)} is no number")
    try:
        found = _number_in(value.strip()) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        raise Unreadable(f"{shown(value)} is no number") from None
    if not math.isfinite(found):
        raise Unreadable(f"{shown(value)} is no number")
    return found


def whole(value: Any) -> int:
    """A whole number: 8, 8.0, "8"; 2.5 is none."""
    found = number(value)
    if isinstance(value, str) and (THOUSANDS.fullmatch(value.strip()) or "%" in value):
        raise Unreadable(f"{shown(value)} is no plain whole number")
    if found != int(found):
        raise Unreadable(f"{shown(value)} is no whole number")
    return value if type(value) is int else int(found)


def not_negative(value: Any) -> float:
    """A number from 0 on."""
    found = number(value)
    if found < 0:
        raise Unreadable(f"{shown(value)} is below 0")
    return found


def count(value: Any) -> int:
    """A whole number from 0 on."""
    found = whole(value)
    if found < 0:
        raise Unreadable(f"{shown(value)} is below 0")
    return found


def switch(value: Any) -> bool:
    """Yes or no, in any spelling."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in SWITCHES:
        return SWITCHES[value.strip().lower()]
    raise Unreadable(f"{shown(value)} is neither yes nor no")


def text(value: Any) -> str:
    """A text, a number as text, or a list of one of them."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Unreadable(f"{shown(value)} is no text")
    try:
        found = str(value)
    except ValueError:
        raise Unreadable("the number is too long") from None
    if CONTROL.search(found):
        raise Unreadable("it contains control characters")
    if len(found) > LONGEST:
        raise Unreadable(f"it is longer than {LONGEST:,} characters")
    return found


def file_name(path: str) -> str:
    """The name of a model's or LoRA's file, of either system's path, without the ending of such files."""
    return re.sub(r"\.(?:safetensors|ckpt|pt|pth|bin|sft|gguf)$", "", PureWindowsPath(path).name, flags=re.IGNORECASE)


def numbers(value: Any) -> list[float]:
    """Numbers in a list or tuple, or in a text with commas, semicolons or blanks, in brackets or not."""
    value = literal(value)
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s;,x×]+", value.strip("()[]{} \"'")) if part]
    if not isinstance(value, (list, tuple)):
        value = [value]
    if not value or len(value) > 1000:
        raise Unreadable(f"{shown(value)} has no numbers, or too many")
    return [number(part) for part in value]


def sides(value: Any) -> list[float]:
    """Widths and heights of images, in pixels."""
    found = numbers(value)
    if not all(8 <= side <= 100_000 for side in found):
        raise Unreadable(f"{shown(value)} is no size of an image")
    return found


def anything(value: Any) -> Any:
    """The value as it stands, for keys whose value does not matter."""
    return value


def of_setting(f: Field[Any]) -> Callable[[Any], Any]:
    """The reader for a setting of ours: its kind, its choices, and no negative number where it has none."""
    read: Callable[[Any], Any] = {bool: switch, int: whole, float: number, str: text}[type(default_of(f))]
    choices, low = f.metadata["choices"], f.metadata["low"]

    def reader(value: Any) -> Any:
        found = read(value)
        if choices and not is_other(f, found.strip()):
            if (known := {choice.lower(): choice for choice in choices}.get(found.strip().lower())) is None:
                raise Unreadable(f"{shown(value)} is none of {', '.join(choices)}")
            return known
        if choices:
            return found.strip()
        if low is not None and found < 0 <= low:
            raise Unreadable(f"{shown(value)} is below 0")
        return found

    return reader


def _number_in(value: str) -> float:
    value = value.strip("\"'")
    if value.endswith("%"):
        return _number_in(value[:-1].strip()) / 100
    if DECIMAL_COMMA.fullmatch(value):
        if THOUSANDS.fullmatch(value):
            raise ValueError("a comma before three digits may mean thousands")
        value = value.replace(",", ".")
    if "_" in value:
        raise ValueError("no number")
    return float(value)
