"""What numbers and texts may be, wherever they come from: the page, the API, the command line, a file.

A value outside is a :class:`UserError` that names its field, never an exception from below.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

from lib_lora.errors import UserError
from lib_lora.names import FORBIDDEN_IN_TEXT

SEED = (0, 2**53)  # as far as every program that reads JSON has whole numbers
PIXELS = (8, 8192)
STEPS = (1, 1000)
CFG = (0.0, 100.0)
CLIP_SKIP = (1, 12)
WEIGHT = (-100.0, 100.0)
RANK = (0, 4096)
TEXT = 20_000  # characters of a prompt or another long text
FORMULA = 20_000  # hundreds of LoRAs with weights for each block
LIST = 1_000  # values
PATH = 4_096  # bytes, of which 255 for each folder's name
KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}


class Settings(Protocol):
    """How pictures are generated: :class:`lib_lora.models.base.GenerationRequest`."""

    @property
    def negative(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def cfg(self) -> float: ...
    @property
    def clip_skip(self) -> int: ...


def check_number(value: Any, where: str, low: float, high: float, *, unit: str = "") -> None:
    """UserError unless ``value`` is a finite number from ``low`` to ``high``."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:  # NaN is refused too
        fix = f"Use {low:g} to {high:g} {unit}".rstrip()
        raise UserError(f"This cannot be {shown(value)}", where=where, fix=fix)


def check_kind(value: Any, kind: type, where: str, what: str = "This") -> None:
    """UserError unless ``value`` is of the very type ``kind``: true is no number here; ``what`` begins the message."""
    if type(value) is not kind:
        raise UserError(f"{what} must be {KINDS[kind]}, not {shown(value)}", where=where)


def check_text(value: str, where: str, longest: int = TEXT) -> None:
    """UserError if ``value`` is too long, or has letters that are none, such as NUL."""
    if len(value) > longest:
        raise UserError(f"This is {len(value):,} characters long", where=where, fix=f"Use at most {longest:,}")
    if found := FORBIDDEN_IN_TEXT.search(value):
        raise UserError(f"This cannot contain {found.group()!r}", where=where, fix="Remove it")


def check_path(value: str, where: str) -> None:
    """UserError if no file system has such a path."""
    check_text(value, where)
    encoded = value.encode()
    if len(encoded) > PATH or any(len(part.encode()) > 255 for part in Path(value).parts):
        raise UserError("This path is longer than any file's", where=where, fix="Check it")


def check_settings(settings: Settings, prefix: str = "") -> None:
    """UserError naming the first of the settings of a generation that no model takes; ``prefix`` is before its name."""
    for name, (low, high), unit in (
        ("width", PIXELS, "px"),
        ("height", PIXELS, "px"),
        ("steps", STEPS, ""),
        ("cfg", CFG, ""),
        ("clip_skip", CLIP_SKIP, ""),
    ):
        check_number(getattr(settings, name), prefix + name, low, high, unit=unit)
    check_text(settings.negative, f"{prefix}negative")


def as_float(value: Any, where: str) -> float:
    """``value`` as a float; UserError for a whole number that is too large for one."""
    try:
        return float(value)
    except OverflowError:
        raise UserError(f"This cannot be {shown(value)}", where=where, fix="Use a smaller number") from None


def shown(value: Any) -> str:
    """A value in a message, shortened: a number of thousands of digits cannot even be written."""
    if isinstance(value, int) and abs(value) >= 10**15:
        return f"a number of about {int(math.log10(abs(value))) + 1} digits"
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else f"{value!r:.60}"
